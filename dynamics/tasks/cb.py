"""CommitmentBank: does a text commit its author to a sentence, to its opposite, or to neither?

Small and unbalanced: 56 validation rows, of which 5 are neutral. Labels are in the dataset's order.
"""

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="aps/super_glue",
    files={
        "train": File("cb/train-00000-of-00001.parquet", 250),
        "validation": File("cb/validation-00000-of-00001.parquet", 56),
    },
    columns=Columns({"premise": "premise", "hypothesis": "hypothesis"}, "label", (0, 1, 2), groups=("premise",)),
    single_split="validation",
    folders=("super_glue/cb",),
)

TEMPLATES = (
    Template("believes", '{premise}\nDoes the speaker believe that "{hypothesis}"? Yes, No, or Maybe? {label}'),
    Template("follows", "Text: {premise}\nClaim: {hypothesis}\nDoes the claim follow from the text? {label}"),
    Template("true", 'Take this to be said in earnest: {premise}\nThen is it true that "{hypothesis}"? {label}'),
    Template("contrast", '{premise} Does the speaker believe that "{hypothesis}"? Yes, No, or Maybe? {label}'),
)

TASK = source_task("cb", ("Yes", "No", "Maybe"), TEMPLATES, SOURCE)
