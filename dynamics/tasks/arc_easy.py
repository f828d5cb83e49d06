"""ARC-Easy: school science questions with four options.

Questions have 3 to 5 options, lettered or numbered; those with four options are used, lettered A to D in order.
Demonstrations come from the training split, test rows from the labelled test split; a local folder that has only the
validation split has that one halved.
"""

from collections.abc import Iterator

from dynamics.tasks import Template
from dynamics.tasks.rows import Columns, Record
from dynamics.tasks.sources import File, Source, source_task

LETTERS = ("A", "B", "C", "D")


def lettered(record: Record) -> Iterator[Record]:
    """The question with its options by letter; no record where there are not four options."""
    options, names = record["choices"]["text"], record["choices"]["label"]
    if len(options) == len(LETTERS):
        answer = LETTERS[names.index(record["answerKey"])]
        yield {"question": record["question"], **dict(zip(LETTERS, options, strict=True)), "answer": answer}


SOURCE = Source(
    repo="allenai/ai2_arc",
    files={
        "train": File("ARC-Easy/train-00000-of-00001.parquet", 2_251),
        "validation": File("ARC-Easy/validation-00000-of-00001.parquet", 570),
        "test": File("ARC-Easy/test-00000-of-00001.parquet", 2_376),
    },
    columns=Columns(
        {name: name for name in ("question", *LETTERS)},
        "answer",
        LETTERS,
        unpack=lettered,
        raw=("question", "choices", "answerKey"),
    ),
    test="test",
    single_split="validation",
)

OPTIONS = "A: {A}\nB: {B}\nC: {C}\nD: {D}"

TEMPLATES = (
    Template("exam", "Question: {question}\n" + OPTIONS + "\nAnswer: {label}"),
    Template("pick", "{question}\nPick the best of these answers.\n" + OPTIONS + "\nThe best answer is {label}"),
    Template("options_first", OPTIONS + "\nWhich of A, B, C, or D answers this? {question} {label}"),
    Template("contrast", "Question: {question} " + OPTIONS + "\nAnswer: {label}"),
)

TASK = source_task("arc_easy", LETTERS, TEMPLATES, SOURCE)
