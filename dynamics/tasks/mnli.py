"""MNLI: does a sentence follow from a text, contradict it, or neither? Tested on the matched validation split.

`entailment` is not a single token, so the label words are Yes, Maybe and No.
"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="nyu-mll/glue",
    files={
        "train": File("mnli/train-00000-of-00001.parquet", 392_702),
        "validation_matched": File("mnli/validation_matched-00000-of-00001.parquet", 9_815),
    },
    columns=Columns({"premise": "premise", "hypothesis": "hypothesis"}, "label", (0, 1, 2), groups=("premise",)),
    test="validation_matched",
    folders=("glue/mnli",),
)

TEMPLATES = (
    Template("suppose", 'Suppose {premise}\nDoes this mean that "{hypothesis}"? Yes, Maybe, or No? {label}'),
    Template(
        "given", "Premise: {premise}\nHypothesis: {hypothesis}\nIs the hypothesis true, given the premise? {label}"
    ),
    Template("reader", '{premise}\nWould a reader of this agree that "{hypothesis}"? {label}'),
    Template("contrast", 'Suppose {premise} Does this mean that "{hypothesis}"? Yes, Maybe, or No? {label}'),
)

TASK = source_task("mnli", ("Yes", "Maybe", "No"), TEMPLATES, SOURCE)
