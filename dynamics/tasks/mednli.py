"""MedNLI: natural language inference on clinical notes. The transfer test of MNLI.

Credentialed data: the file is read from a local folder only, and no row of it is part of this repository.
"""

from dynamics.tasks import mnli
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="physionet/mednli",
    files={"test": File("mli_test_v1.jsonl", 1_422)},
    columns=Columns(
        {"premise": "sentence1", "hypothesis": "sentence2"},
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        groups=("sentence1",),
    ),
    revision="1.0.0",
    test="test",
    obtain="MedNLI is credentialed: sign its data use agreement at physionet.org/content/mednli, download "
    "mli_test_v1.jsonl and put it into {data}/mednli/",
)

TASK = source_task("mednli", ("Yes", "Maybe", "No"), mnli.TEMPLATES, SOURCE, demonstrations_of=mnli.TASK)
