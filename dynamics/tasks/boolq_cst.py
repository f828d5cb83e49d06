"""BoolQ contrast set: questions reworded by experts so that the answer often flips. The transfer test of BoolQ.

Gardner et al. 2020 (arXiv 2004.02709). The file has one entry per passage. The first is a header of column names, and
one has an empty question; 335 labelled questions remain. The passages are those of BoolQ's validation split, so
demonstrations must be training rows, and that split is never halved here.
"""

from collections.abc import Iterator

from dynamics.tasks import boolq
from dynamics.tasks.rows import Columns, Record
from dynamics.tasks.sources import File, Source, source_task


def questions(entry: Record) -> Iterator[Record]:
    """The reworded questions of one passage."""
    for question in entry["perturbed_questions"]:
        answer = question["answer"].strip().upper()
        if answer in ("TRUE", "FALSE"):
            yield {"question": question["perturbed_q"], "passage": entry["paragraph"], "answer": answer}


SOURCE = Source(
    repo="allenai/contrast-sets",
    files={"test": File("BoolQ/boolq_perturbed.json")},
    columns=Columns(
        {"question": "question", "passage": "passage"},
        "answer",
        ("FALSE", "TRUE"),
        unpack=questions,
        raw=("paragraph", "perturbed_questions"),
        groups=("passage",),
    ),
    test="test",
    obtain="download BoolQ/boolq_perturbed.json from github.com/allenai/contrast-sets",
)

TASK = source_task("boolq_cst", ("No", "Yes"), boolq.TEMPLATES, SOURCE, demonstrations_of=boolq.TASK, halve=False)
