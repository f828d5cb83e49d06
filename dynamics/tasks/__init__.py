"""Tasks: rows, label words and templates; one file per task, registered in `TASKS`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name

from dynamics.errors import PlanError, unknown
from dynamics.identity import short_hash

CONTRAST = "contrast"
"""Name of the contrastive template: the task's first one but for a space, a line break or capitals."""

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
    """One example.

    Attributes:
        example_id: its name.
        fields: the texts that templates name.
        gold: index of its gold label.
        links: what rows that belong together have in common: a passage, a premise, a value of the plan's `group`.
        group: the id of the first of the rows on its side that belong together; None for a row that has none.
    """

    example_id: str
    fields: Mapping[str, str]
    gold: int
    links: tuple[str, ...] = ()
    group: str | None = None

    @property
    def group_or_self(self) -> str:
        """The name of its group, in which it may be alone."""
        return self.group or self.example_id


@dataclass(frozen=True)
class TaskRows:
    """All rows of a task: demonstrations and training rows come from `pool`, test rows from `test`; they are disjoint.

    Attributes:
        source: the files that were read and their numbers of rows; empty where `Task.source` is complete.
        notes: what the user should look at before a sweep.
        n_moved: rows that are not on the side a random half would put them on, since their group is on the other.
        n_dropped: rows that were left out, since an equal text or their group is on the other side.
    """

    pool: tuple[Row, ...]
    test: tuple[Row, ...]
    source: str = ""
    notes: tuple[str, ...] = ()
    n_moved: int = 0
    n_dropped: int = 0

    @cached_property
    def groups(self) -> dict[str, str]:
        """example_id -> group, of the rows that are not alone in it."""
        return {row.example_id: row.group for row in (*self.pool, *self.test) if row.group}


@dataclass(frozen=True)
class Template:
    """Prompt template: `text` refers to the row's fields and ends in ` {label}`; `separator` joins demonstrations.

    `label_words` override the task's label words, in label order.
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
        label_words: the word of each label. More words than `n_labels` are a pool, from which each demonstration seed
            draws its words in a random order (arbitrary labels: only the demonstrations define them).
        templates: the first is the reference; one named `contrast` is its contrastive partner (`contrasts_with`).
        load: reads the rows; its argument is the plan's `data` folder, or None for the task's own source.
        source: where the rows come from, with the pinned version, as stored with every unit.
        demonstrations_of: the transfer partner: the task whose pool a transfer task uses. The same seed then gives the
            same demonstrations and training rows in both, which differ in their test rows only.
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
        """The contrastive partner of a template: the task's first template for `contrast`, None for any other."""
        first = self.templates[0].name
        return first if template == CONTRAST != first else None


def get_task(name: str, defined: Mapping[str, Task] | None = None) -> Task:
    """The task of a name, registered here or defined in a plan.

    Raises:
        PlanError: no such task; the message lists the known ones.
    """
    defined = defined or {}
    if name in defined:
        return defined[name]
    if name not in TASKS:
        raise PlanError(unknown("task", name, [*defined, *TASKS], shown=24))
    return resolve_name(TASKS[name])


def fingerprint(task: Task, rows: TaskRows) -> str:
    """Hash (16 hex) of a task's label words and of every row's text, label and group; templates have their own."""
    parts = [[_identity(row) for row in part] for part in (rows.pool, rows.test)]
    identity = [task.name, task.n_labels, task.label_words, task.demonstrations_of, parts]
    return short_hash(json.dumps(identity, sort_keys=True))


def _identity(row: Row) -> list[object]:
    """What decides a row's prompts and its place in a partition."""
    return [row.example_id, sorted(row.fields.items()), row.gold, *([row.group] if row.group else [])]
