"""AG News: which of four sections is a piece of news from? The first template is the paper's.

The dataset calls the last section Sci/Tech, which is not a single token. The paper's pair differs in a line break or a
space before the question.
"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="fancyzhx/ag_news",
    files={
        "train": File("data/train-00000-of-00001.parquet", 120_000),
        "test": File("data/test-00000-of-00001.parquet", 7_600),
    },
    columns=Columns({"text": "text"}, "label", (0, 1, 2, 3)),
    test="test",
)

QUESTION = "Is this a piece of news regarding World, Sports, Business, or Technology? {label}"

TEMPLATES = (
    Template("paper", "{text}\n" + QUESTION, "\n"),
    Template("section", "Article: {text}\nSection (World, Sports, Business, Technology): {label}"),
    Template("editor", 'An editor files "{text}" under World, Sports, Business, or Technology.\nChoice: {label}'),
    Template("contrast", "{text} " + QUESTION, "\n"),
)

TASK = source_task("agnews", ("World", "Sports", "Business", "Technology"), TEMPLATES, SOURCE)
