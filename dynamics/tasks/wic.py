"""WiC: does a word have the same meaning in two sentences?"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="aps/super_glue",
    files={
        "train": File("wic/train-00000-of-00001.parquet", 5_428),
        "validation": File("wic/validation-00000-of-00001.parquet", 638),
    },
    columns=Columns({"word": "word", "sentence1": "sentence1", "sentence2": "sentence2"}, "label", (0, 1)),
    folders=("super_glue/wic",),
)

TEMPLATES = (
    Template("same", '{sentence1}\n{sentence2}\nDoes the word "{word}" mean the same in both sentences? {label}'),
    Template(
        "compare", 'Sentence A: {sentence1}\nSentence B: {sentence2}\n"{word}" has one meaning in A and B: {label}'
    ),
    Template(
        "teacher",
        'Is "{word}" used in the same sense here, Yes or No?\n1. {sentence1}\n2. {sentence2}\nAnswer: {label}',
    ),
    Template("contrast", '{sentence1} {sentence2}\nDoes the word "{word}" mean the same in both sentences? {label}'),
)

TASK = source_task("wic", ("No", "Yes"), TEMPLATES, SOURCE)
