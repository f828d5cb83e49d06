"""QQP: do two questions ask the same thing? The first template is the paper's.

The paper's pair differs in the case of the label words only, so the contrasting template carries its own.
"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="nyu-mll/glue",
    files={
        "train": File("qqp/train-00000-of-00001.parquet", 363_846),
        "validation": File("qqp/validation-00000-of-00001.parquet", 40_430),
    },
    columns=Columns(
        {"question1": "question1", "question2": "question2"}, "label", (0, 1), groups=("question1", "question2")
    ),
    folders=("glue/qqp",),
)

PAPER = 'Are the questions "{question1}" and "{question2}" asking the same thing? {label}'

TEMPLATES = (
    Template("paper", PAPER, "\n"),
    Template("duplicate", "Question 1: {question1}\nQuestion 2: {question2}\nAre they duplicates, yes or no? {label}"),
    Template("answer", '"{question1}"\nWould an answer to this also answer "{question2}"? {label}'),
    Template("contrast", PAPER, "\n", label_words=("No", "Yes")),
)

TASK = source_task("qqp", ("no", "yes"), TEMPLATES, SOURCE)
