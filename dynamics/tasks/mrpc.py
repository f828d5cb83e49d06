"""MRPC: do two sentences from the news say the same?"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="nyu-mll/glue",
    files={
        "train": File("mrpc/train-00000-of-00001.parquet", 3_668),
        "validation": File("mrpc/validation-00000-of-00001.parquet", 408),
    },
    columns=Columns(
        {"sentence1": "sentence1", "sentence2": "sentence2"}, "label", (0, 1), groups=("sentence1", "sentence2")
    ),
    single_split="validation",
    folders=("glue/mrpc",),
)

TEMPLATES = (
    Template("paraphrase", "{sentence1}\n{sentence2}\nDo these sentences say the same, Yes or No? {label}"),
    Template("rewrite", 'Could one replace "{sentence1}" by "{sentence2}" and keep the meaning? {label}'),
    Template("pair", "First: {sentence1}\nSecond: {sentence2}\nSame meaning: {label}"),
    Template("contrast", "{sentence1} {sentence2}\nDo these sentences say the same, Yes or No? {label}"),
)

TASK = source_task("mrpc", ("No", "Yes"), TEMPLATES, SOURCE)
