"""SST-2: is a sentence of a film review positive or negative? The first template is the paper's.

The paper's pair differs by one space before the line break, which is why texts are stripped when they are read.
"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="stanfordnlp/sst2",
    files={
        "train": File("data/train-00000-of-00001.parquet", 67_349),
        "validation": File("data/validation-00000-of-00001.parquet", 872),
    },
    columns=Columns({"text": "sentence"}, "label", (0, 1)),
    single_split="validation",
    folders=("glue/sst2",),
)

TEMPLATES = (
    Template("paper", "Review: {text}\nDo you think the review is positive or negative? {label}", "\n"),
    Template("sentiment", "{text}\nThe sentiment of this sentence is {label}"),
    Template("question", 'Question: Does "{text}" express a positive or a negative opinion?\nAnswer: {label}'),
    Template("contrast", "Review: {text} \nDo you think the review is positive or negative? {label}", "\n"),
)

TASK = source_task("sst2", ("negative", "positive"), TEMPLATES, SOURCE)
