"""Tasks: rows, label words and templates. One file per task, one line each in `TASKS`."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from dynamics.errors import PlanError, unknown

TASKS = {
    "sentiment": "dynamics.tasks.sentiment:TASK",
    "topic": "dynamics.tasks.topic:TASK",
    "wordmap": "dynamics.tasks.wordmap:TASK",
}


@dataclass(frozen=True)
class Row:
    """One example: the text fields its templates name, and the index of its gold label."""

    example_id: str
    fields: Mapping[str, str]
    gold: int


@dataclass(frozen=True)
class TaskRows:
    """All rows of a task: `pool` feeds demonstrations and training rows, `test` the test set; none is in both."""

    pool: tuple[Row, ...]
    test: tuple[Row, ...]


@dataclass(frozen=True)
class Template:
    """How a row becomes text: `text` names the row's fields and ends in ` {label}`; `separator` joins shots."""

    name: str
    text: str
    separator: str = "\n\n"


@dataclass(frozen=True)
class Task:
    """A classification task with single-token label words.

    Attributes:
        name: key in plans and tables.
        n_labels: number of label words; gold labels are `0 .. n_labels - 1`.
        label_words: the word of each label. With more words than `n_labels` they are a pool, from which every
            demonstration seed draws its own words in its own order (arbitrary labels: true in-context learning).
        templates: at least three; the first is the reference wording.
        load: reads the rows; its argument is the folder named by the plan, or None for the task's own source.
        source: where the rows come from, with the pinned version, as stored with every unit.
    """

    name: str
    n_labels: int
    label_words: tuple[str, ...]
    templates: tuple[Template, ...]
    load: Callable[[Path | None], TaskRows]
    source: str

    def template(self, name: str) -> Template:
        """The template of that name.

        Raises:
            PlanError: the task has no such template.
        """
        by_name = {template.name: template for template in self.templates}
        if name not in by_name:
            raise PlanError(unknown(f"template of task {self.name}", name, by_name))
        return by_name[name]


def get_task(name: str) -> Task:
    """The task registered under a name.

    Raises:
        PlanError: no such task; the message lists what there is.
    """
    if name not in TASKS:
        raise PlanError(unknown("task", name, TASKS))
    return resolve_name(TASKS[name])


def fingerprint(task: Task, rows: TaskRows) -> str:
    """Hash (16 hex) of what a task asks: label words, templates and every row's text and label."""
    templates = [(t.name, t.text, t.separator) for t in task.templates]
    split = [[(r.example_id, sorted(r.fields.items()), r.gold) for r in part] for part in (rows.pool, rows.test)]
    text = json.dumps([task.name, task.n_labels, task.label_words, templates, split], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
