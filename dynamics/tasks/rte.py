"""RTE: does a sentence follow from a text?"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="nyu-mll/glue",
    files={
        "train": File("rte/train-00000-of-00001.parquet", 2_490),
        "validation": File("rte/validation-00000-of-00001.parquet", 277),
    },
    columns=Columns({"premise": "sentence1", "hypothesis": "sentence2"}, "label", (0, 1), groups=("sentence1",)),
    single_split="validation",
    folders=("glue/rte",),
)

TEMPLATES = (
    Template("follows", '{premise}\nDoes it follow that "{hypothesis}"? Yes or No? {label}'),
    Template("given", "Given that {premise}\nIs it true that {hypothesis}\nAnswer: {label}"),
    Template("statement", "Text: {premise}\nStatement: {hypothesis}\nDoes the text support the statement? {label}"),
    Template("contrast", '{premise} Does it follow that "{hypothesis}"? Yes or No? {label}'),
)

TASK = source_task("rte", ("Yes", "No"), TEMPLATES, SOURCE)
