"""The reference suite's tasks: rows drawn from its corpus, by another random stream than its training documents."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dynamics.reference import corpus
from dynamics.tasks import Row, Task, TaskRows, Template


def reference_task(kind: str) -> Task:
    """The task of one kind of document; its prompts have exactly the form of the documents."""
    return Task(
        name=kind,
        n_labels=len(corpus.classes(kind)),
        label_words=corpus.label_words(kind),
        templates=tuple(Template(name, text, corpus.SEPARATOR) for name, text in corpus.FORMATS[kind].items()),
        load=partial(_load, kind),
        source=f"reference corpus, task seed {corpus.TASK_SEED}",
    )


def _load(kind: str, folder: Path | None = None) -> TaskRows:  # noqa: ARG001 - these rows are made, not stored
    pool, test = corpus.task_examples(kind)
    return TaskRows(pool=_rows(kind, "pool", pool), test=_rows(kind, "test", test))


def _rows(kind: str, split: str, examples: Sequence[corpus.Example]) -> tuple[Row, ...]:
    return tuple(Row(f"{kind}-{split}-{i:04d}", example.fields, example.gold) for i, example in enumerate(examples))
