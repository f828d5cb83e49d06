"""Hand-written records in the raw form of every public dataset, and folders made of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynamics.tasks import TASKS, Task, TaskRows, get_task
from dynamics.tasks.sources import SourceRows

Record = Mapping[str, Any]
PUBLIC = [name for name in TASKS if isinstance(get_task(name).load, SourceRows)]
"""The tasks whose rows are a public dataset's; each needs records below, where it has splits of its own."""


def _options(*texts: str, names: str = "ABCD") -> Record:
    return {"text": list(texts), "label": list(names)}


POOL: Mapping[str, Sequence[Record]] = {
    "sst2": [
        {"sentence": "a slow walk through an empty house ", "label": 0},
        {"sentence": "it sings from the first scene to the last ", "label": 1},
    ],
    "boolq": [
        {"question": "is glass a metal", "passage": "Glass is an amorphous solid.", "answer": False},
        {"question": "is copper a metal", "passage": "Copper is a soft, ductile metal.", "answer": True},
    ],
    "qqp": [
        {"question1": "How do I bake bread?", "question2": "Why is bread so cheap?", "label": 0},
        {"question1": "How do I learn to swim?", "question2": "What is a way to learn swimming?", "label": 1},
    ],
    "wic": [
        {"word": "bank", "sentence1": "We sat on the bank.", "sentence2": "The bank lent us money.", "label": 0},
        {"word": "run", "sentence1": "They run daily.", "sentence2": "She runs at dawn.", "label": 1},
    ],
    "rte": [
        {"sentence1": "The bridge was closed on Monday.", "sentence2": "The bridge was shut.", "label": 0},
        {"sentence1": "The bridge was closed on Monday.", "sentence2": "The bridge fell down.", "label": 1},
    ],
    "mnli": [
        {"premise": "He plays the cello every evening.", "hypothesis": "He plays an instrument.", "label": 0},
        {"premise": "He plays the cello every evening.", "hypothesis": "He plays for money.", "label": 1},
        {"premise": "He plays the cello every evening.", "hypothesis": "He has never played.", "label": 2},
    ],
    "agnews": [
        {"text": "Two ministers met at the border to sign a treaty.", "label": 0},
        {"text": "The home side won by three goals.", "label": 1},
        {"text": "Shares of the bakery rose by a tenth.", "label": 2},
        {"text": "A new chip halves the power that phones need.", "label": 3},
    ],
    "arc_easy": [
        {"question": "Which is a gas?", "choices": _options("Air", "Iron", "Oak", "Salt"), "answerKey": "A"},
        {"question": "Which is a metal?", "choices": _options("Air", "Iron", "Oak", "Salt"), "answerKey": "B"},
        {
            "question": "Which is a plant?",
            "choices": _options("Air", "Iron", "Oak", "Salt", names="1234"),
            "answerKey": "3",
        },
        {"question": "Which dissolves?", "choices": _options("Air", "Iron", "Oak", "Salt"), "answerKey": "D"},
        {"question": "Left out", "choices": _options("Air", "Iron", "Oak", names="ABC"), "answerKey": "A"},
    ],
    "mrpc": [
        {"sentence1": "The mill closed .", "sentence2": "The mill was sold .", "label": 0},
        {"sentence1": "The mill closed .", "sentence2": "The mill shut down .", "label": 1},
    ],
    "cb": [
        {"premise": "She knew that it rained.", "hypothesis": "it rained", "label": 0},
        {"premise": "She knew that it never rained.", "hypothesis": "it rained", "label": 1},
        {"premise": "She asked if it rained.", "hypothesis": "it rained", "label": 2},
    ],
}

TEST: Mapping[str, Sequence[Record]] = {
    "sst2": [
        {"sentence": "two hours of rain and nothing else ", "label": 0},
        {"sentence": "a small film with a large heart ", "label": 1},
    ],
    "yelp": [{"text": "The soup was cold.\n", "label": 0}, {"text": "The soup was superb!", "label": 1}],
    "boolq": [
        {"question": "is wood a metal", "passage": "Wood is a plant tissue.", "answer": False},
        {"question": "is tin a metal", "passage": "Tin is a silvery metal.", "answer": True},
    ],
    "boolq_cst": [
        {"paragraph": "Paragraph", "perturbed_questions": [{"perturbed_q": "Perturbed Q", "answer": "New Answer"}]},
        {"paragraph": "Cloaks are long.", "perturbed_questions": [{"perturbed_q": "", "answer": ""}]},
        {
            "paragraph": "Zinc is a brittle metal.",
            "perturbed_questions": [
                {"perturbed_q": "is zinc a soft metal", "answer": "FALSE"},
                {"perturbed_q": "is zinc a brittle metal", "answer": "TRUE"},
            ],
        },
    ],
    "qqp": [
        {"question1": "What is tea?", "question2": "Who drinks tea?", "label": 0},
        {"question1": "What is tea?", "question2": "Can you say what tea is?", "label": 1},
    ],
    "wic": [
        {"word": "light", "sentence1": "Light the fire.", "sentence2": "A light coat.", "label": 0},
        {"word": "light", "sentence1": "A light coat.", "sentence2": "A light bag.", "label": 1},
    ],
    "rte": [
        {"sentence1": "Ann sold her boat to Tom.", "sentence2": "Tom bought a boat.", "label": 0},
        {"sentence1": "Ann sold her boat to Tom.", "sentence2": "Tom can sail.", "label": 1},
    ],
    "mnli": [
        {"premise": "The train left at noon.", "hypothesis": "A train left.", "label": 0},
        {"premise": "The train left at noon.", "hypothesis": "The train was full.", "label": 1},
        {"premise": "The train left at noon.", "hypothesis": "The train is still here.", "label": 2},
    ],
    "mednli": [
        {"sentence1": "Temp 39.5.", "sentence2": "The patient has a fever.", "gold_label": "entailment"},
        {"sentence1": "Temp 39.5.", "sentence2": "The patient has a cough.", "gold_label": "neutral"},
        {"sentence1": "Temp 39.5.", "sentence2": "The patient is afebrile.", "gold_label": "contradiction"},
    ],
    "agnews": [
        {"text": "Voters go to the polls on Sunday.", "label": 0},
        {"text": "The runner broke her own record.", "label": 1},
        {"text": "The bank cut its forecast.", "label": 2},
        {"text": "The browser blocks more trackers.", "label": 3},
    ],
    "arc_easy": [
        {"question": "Which is a bird?", "choices": _options("Owl", "Carp", "Bee", "Ant"), "answerKey": "A"},
        {"question": "Which is a fish?", "choices": _options("Owl", "Carp", "Bee", "Ant"), "answerKey": "B"},
        {"question": "Which makes honey?", "choices": _options("Owl", "Carp", "Bee", "Ant"), "answerKey": "C"},
        {"question": "Which is smallest?", "choices": _options("Owl", "Carp", "Bee", "Ant"), "answerKey": "D"},
    ],
    "mrpc": [
        {"sentence1": "Prices rose .", "sentence2": "Prices rose twice .", "label": 0},
        {"sentence1": "Prices rose .", "sentence2": "Prices went up .", "label": 1},
    ],
    "cb": [
        {"premise": "He forgot that it was Monday.", "hypothesis": "it was Monday", "label": 0},
        {"premise": "He was wrong that it was Monday.", "hypothesis": "it was Monday", "label": 1},
        {"premise": "He doubted that it was Monday.", "hypothesis": "it was Monday", "label": 2},
    ],
}


def source_of(task: Task) -> SourceRows:
    """The loader of a task on a public dataset."""
    assert isinstance(task.load, SourceRows)
    return task.load


def write_folder(folder: Path, *names: str) -> Path:
    """A data folder with the hand-written records of some tasks, as `<task>/<split>.jsonl` (or .json where nested)."""
    for name in names:
        source = source_of(get_task(name)).source
        for records, split in ((POOL.get(name), source.pool), (TEST.get(name), source.test)):
            if records:
                file = folder / name / f"{split}{'.json' if name == 'boolq_cst' else '.jsonl'}"
                file.parent.mkdir(parents=True, exist_ok=True)
                lines = json.dumps({"data": records}) if name == "boolq_cst" else "\n".join(map(json.dumps, records))
                file.write_text(lines, encoding="utf-8")
    return folder


def hand_written(task: str, folder: Path) -> TaskRows:
    """The rows of a task, read from its own records and those of the task that lends it demonstrations."""
    lender = get_task(task).demonstrations_of
    return get_task(task).load(write_folder(folder, task, *([lender] if lender else [])))
