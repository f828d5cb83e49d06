"""Tasks: rows, label words and templates. One file per task, one line each in `TASKS`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from dynamics.errors import PlanError, unknown
from dynamics.identity import short_hash

CONTRAST = "contrast"
"""Name of the template that differs least from the task's first one: a space, a line break, capitals of the labels."""

TASKS = {
    "agnews": "dynamics.tasks.agnews:TASK",
    "arc_easy": "dynamics.tasks.arc_easy:TASK",
    "boolq": "dynamics.tasks.boolq:TASK",
    "boolq_cst": "dynamics.tasks.boolq_cst:TASK",
    "cb": "dynamics.tasks.cb:TASK",
    "mednli": "dynamics.tasks.mednli:TASK",
    "mnli": "dynamics.tasks.mnli:TASK",
    "mrpc": "dynamics.tasks.mrpc:TASK",
    "qqp": "dynamics.tasks.qqp:TASK",
    "rte": "dynamics.tasks.rte:TASK",
    "sentiment": "dynamics.tasks.sentiment:TASK",
    "sst2": "dynamics.tasks.sst2:TASK",
    "topic": "dynamics.tasks.topic:TASK",
    "wic": "dynamics.tasks.wic:TASK",
    "wordmap": "dynamics.tasks.wordmap:TASK",
    "yelp": "dynamics.tasks.yelp:TASK",
}


@dataclass(frozen=True)
class Row:
    """One example: the text fields its templates name, and the index of its gold label."""

    example_id: str
    fields: Mapping[str, str]
    gold: int


@dataclass(frozen=True)
class TaskRows:
    """All rows of a task: `pool` feeds demonstrations and training rows, `test` the test set; none is in both.

    `source` says which files they were read from and how many rows each gave; empty where the task's own text says all.
    """

    pool: tuple[Row, ...]
    test: tuple[Row, ...]
    source: str = ""


@dataclass(frozen=True)
class Template:
    """How a row becomes text: `text` names the row's fields and ends in ` {label}`; `separator` joins shots.

    `label_words` are words of this template's own, in label order, where they differ from the task's.
    """

    name: str
    text: str
    separator: str = "\n\n"
    label_words: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Task:
    """A classification task with single-token label words.

    Attributes:
        name: key in plans and tables.
        n_labels: number of label words; gold labels are `0 .. n_labels - 1`.
        label_words: the word of each label. With more words than `n_labels` they are a pool, from which every
            demonstration seed draws its own words in its own order (arbitrary labels: true in-context learning).
        templates: the first is the reference wording; one named `contrast` differs from it by a trifle.
        load: reads the rows; its argument is the folder named by the plan, or None for the task's own source.
        source: where the rows come from, with the pinned version, as stored with every unit.
        demonstrations_of: for a transfer task, the task whose pool it takes: the same seed gives the same
            demonstrations and training rows there and here, so that one prompt is asked about both tests.
    """

    name: str
    n_labels: int
    label_words: tuple[str, ...]
    templates: tuple[Template, ...]
    load: Callable[[Path | None], TaskRows]
    source: str
    demonstrations_of: str | None = None

    def template(self, name: str) -> Template:
        """The template of that name.

        Raises:
            PlanError: the task has no such template.
        """
        by_name = {template.name: template for template in self.templates}
        if name not in by_name:
            raise PlanError(unknown(f"template of task {self.name}", name, by_name))
        return by_name[name]

    def contrasts_with(self, template: str) -> str | None:
        """The first template for the one named `contrast`, which differs from it by a trifle; None for others."""
        first = self.templates[0].name
        return first if template == CONTRAST != first else None


def get_task(name: str, defined: Mapping[str, Task] | None = None) -> Task:
    """The task of a name: registered here, or among those a plan defines itself.

    Raises:
        PlanError: no such task; the message lists what there is.
    """
    defined = defined or {}
    if name in defined:
        return defined[name]
    if name not in TASKS:
        raise PlanError(unknown("task", name, [*defined, *TASKS], shown=24))
    return resolve_name(TASKS[name])


def fingerprint(task: Task, rows: TaskRows) -> str:
    """Hash (16 hex) of a task's label words and of every row's text and label; templates are identified apart."""
    split = [[(r.example_id, sorted(r.fields.items()), r.gold) for r in part] for part in (rows.pool, rows.test)]
    asked = [task.name, task.n_labels, task.label_words, task.demonstrations_of, split]
    text = json.dumps(asked, sort_keys=True)
    return short_hash(text)
