"""BoolQ contrast set: questions reworded by experts so that the answer often flips. The transfer test of BoolQ.

Gardner et al. 2020 (arXiv 2004.02709). It is on GitHub, not on the Hub, and is read from the plan's `data` folder. The
file has one entry per passage, 70 with a header of column names; without the empty questions of five passages, 335
labelled ones remain. The passages are those of BoolQ's validation split, so demonstrations must be training rows, and
that split is never halved here.
"""

from collections.abc import Iterator

from dynamics.tasks import boolq
from dynamics.tasks.rows import Columns, Record
from dynamics.tasks.sources import File, Source, source_task

COMMIT = "d178acbcc5469284448a11cb85dea112806846ca"
PATH = "BoolQ/boolq_perturbed.json"


def questions(entry: Record) -> Iterator[Record]:
    """The reworded questions of one passage."""
    for question in entry["perturbed_questions"]:
        answer = question["answer"].strip().upper()
        if answer in ("TRUE", "FALSE"):
            yield {"question": question["perturbed_q"], "passage": entry["paragraph"], "answer": answer}


SOURCE = Source(
    repo="allenai/contrast-sets",
    files={"test": File(PATH, 70)},
    columns=Columns(
        {"question": "question", "passage": "passage"},
        "answer",
        ("FALSE", "TRUE"),
        unpack=questions,
        raw=("paragraph", "perturbed_questions"),
        groups=("passage",),
    ),
    revision=COMMIT,
    test="test",
    obtain="get it from GitHub with `curl -fL --create-dirs -o '{data}/boolq_cst/boolq_perturbed.json' "
    f"https://raw.githubusercontent.com/allenai/contrast-sets/{COMMIT}/{PATH}`",
    site="github.com",
)

TASK = source_task("boolq_cst", ("No", "Yes"), boolq.TEMPLATES, SOURCE, demonstrations_of=boolq.TASK, halve=False)
