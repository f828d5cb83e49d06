"""The reference suite's tasks: rows drawn from its corpus, by another random stream than its training documents."""

from collections.abc import Sequence
from dataclasses import dataclass
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
        load=ReferenceRows(kind),
        source=f"reference corpus, task seed {corpus.TASK_SEED}",
    )


@dataclass(frozen=True)
class ReferenceRows:
    """Draws the rows of one kind; a plan's data folder is not read, since these rows are made and not stored."""

    kind: str

    def __call__(self, folder: Path | None = None) -> TaskRows:
        """The same rows on every call."""
        del folder
        pool, test = corpus.task_examples(self.kind)
        return TaskRows(pool=_rows(self.kind, "pool", pool), test=_rows(self.kind, "test", test))


def _rows(kind: str, split: str, examples: Sequence[corpus.Example]) -> tuple[Row, ...]:
    return tuple(Row(f"{kind}-{split}-{i:04d}", example.fields, example.gold) for i, example in enumerate(examples))
