"""BoolQ: does the passage answer the question with yes? The first template is the paper's.

The paper's pair differs in a line break or a space before `Answer:`.
"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="google/boolq",
    files={
        "train": File("data/train-00000-of-00001.parquet", 9_427),
        "validation": File("data/validation-00000-of-00001.parquet", 3_270),
    },
    columns=Columns({"question": "question", "passage": "passage"}, "answer", (False, True), groups=("passage",)),
    single_split="validation",
    folders=("boolq/none", "super_glue/boolq"),
)

TEMPLATES = (
    Template("paper", "Based on the following passage, {question}? {passage}\nAnswer: {label}", "\n"),
    Template("passage_first", "{passage}\nQuestion: {question}? Yes or No?\nAnswer: {label}"),
    Template(
        "exam",
        "Passage: {passage}\nAfter reading the passage, is the answer to the question Yes or No? {question}? {label}",
    ),
    Template("contrast", "Based on the following passage, {question}? {passage} Answer: {label}", "\n"),
)

TASK = source_task("boolq", ("No", "Yes"), TEMPLATES, SOURCE)
