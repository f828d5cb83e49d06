"""Tasks whose rows are a public dataset's: from the Hub, or from a local folder with the same files.

No revision here is a commit, because none could be looked up when the tasks were written: `revision` is a branch. A
plan may pin a commit (`pinned`); either way the commit that the Hub resolved is part of the stored source, and the
task's hash covers the text and label of every row that was read, so rows that changed never mix.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.errors import PlanError
from dynamics.tasks import Row, Task, TaskRows, Template
from dynamics.tasks.files import Found, hub_file, local_files, read_tables
from dynamics.tasks.rows import Columns, halves, table_rows


@dataclass(frozen=True)
class File:
    """A split's file in the repository, and how many rows it is published with, where that is known."""

    path: str
    n_rows: int | None = None


@dataclass(frozen=True)
class Source:
    """Where a dataset is and what its columns mean.

    Attributes:
        repo: dataset repository on the Hub.
        files: split -> file.
        columns: template fields, label and its raw values.
        revision: branch, tag or commit.
        pool: the split that feeds demonstrations and training rows.
        test: the labelled split that is tested on.
        single_split: the split that is halved, seeded, into pool and test where a local folder has no other.
            None: a missing split is an error.
        folders: other names under which a local folder may hold the dataset.
        obtain: how to get the files, where the Hub does not have them: only a local folder will do.
    """

    repo: str
    files: Mapping[str, File]
    columns: Columns
    revision: str = "main"
    pool: str = "train"
    test: str = "validation"
    single_split: str | None = None
    folders: tuple[str, ...] = ()
    obtain: str | None = None

    def __str__(self) -> str:
        parts = [(part, split) for part, split in (("pool", self.pool), ("test", self.test)) if split in self.files]
        sizes = {split: f" ({file.n_rows} rows)" if file.n_rows else "" for split, file in self.files.items()}
        there = "; ".join(f"{part} {split}{sizes[split]}" for part, split in parts)
        return f"{self.repo}@{self.revision}{', local files only' if self.obtain else ''}: {there}"


@dataclass(frozen=True)
class SourceRows:
    """Reads a task's rows; called with the plan's `data` folder, or None for the Hub.

    `pool_from` is the source of a transfer task's demonstrations, under the name of the task that owns them.
    """

    task: str
    source: Source
    pool_from: "SourceRows | None" = None

    def __call__(self, folder: Path | None = None) -> TaskRows:
        """All rows, with the files they came from.

        Raises:
            PlanError: a split, file or column is missing, or a label has an unknown value.
        """
        if self.pool_from is None and self._is_single(folder):
            rows, text = self._read(str(self.source.single_split), folder)
            pool, test = halves(rows)
            return TaskRows(pool, test, f"{text}, halved: {len(pool)} pool, {len(test)} test")
        test, test_text = self._read(self.source.test, folder)
        pool, pool_text = self._pool(folder)
        return TaskRows(pool, test, f"pool {pool_text}; test {test_text}")

    def at(self, revisions: Mapping[str, str]) -> "SourceRows":
        """The same, with the repositories named read at other revisions."""
        source = replace(self.source, revision=revisions.get(self.source.repo, self.source.revision))
        return replace(self, source=source, pool_from=self.pool_from.at(revisions) if self.pool_from else None)

    @property
    def repositories(self) -> tuple[str, ...]:
        """The repositories read."""
        return (self.source.repo, *(self.pool_from.repositories if self.pool_from else ()))

    def _pool(self, folder: Path | None) -> tuple[tuple[Row, ...], str]:
        owner = self.pool_from or self
        if owner is not self and owner._is_single(folder):
            rows, text = owner._read(str(owner.source.single_split), folder)
            return halves(rows)[0], f"{text}, halved"
        return owner._read(owner.source.pool, folder)

    def _is_single(self, folder: Path | None) -> bool:
        single = self.source.single_split
        if single is None or folder is None:
            return False
        return self._find(self.source.pool, folder) is None and self._find(single, folder) is not None

    def _read(self, split: str, folder: Path | None) -> tuple[tuple[Row, ...], str]:
        """The rows of a split, and a text that says what was read."""
        found = self._find(split, folder) if folder else self._from_hub(split)
        if found is None:
            raise PlanError(self._missing(split, folder))
        table = read_tables(found.paths)
        published = self.source.files[split].n_rows
        if not found.named and published not in (None, table.height):
            raise PlanError(
                f"task {self.task}: {found.paths[0]} has {table.height} rows and {split} of {self.source.repo} has "
                f"{published}; it may be another dataset's. If it is not, move it to {self.task}/ in the same folder"
            )
        rows = table_rows(
            table, self.source.columns, prefix=f"{self.task}-{split}", where=f"{found.paths[0]} (task {self.task})"
        )
        return rows, f"{found.place}: {len(rows)} of {table.height} rows"

    def _find(self, split: str, folder: Path) -> Found | None:
        names = (self.task, *self.source.folders)
        return local_files(folder, self.source.repo, names, self.source.files[split].path, split)

    def _from_hub(self, split: str) -> Found:
        if self.source.obtain:
            raise PlanError(self._missing(split, None))
        try:
            return hub_file(self.source.repo, self.source.files[split].path, self.source.revision)
        except PlanError as error:
            raise PlanError(
                f"task {self.task}: {error}; without network, put the file into a folder as "
                f"{self.source.repo}/{self.source.files[split].path} and give that folder as `data` in the plan"
            ) from error

    def _missing(self, split: str, folder: Path | None) -> str:
        """What was looked for, where, and how to provide it."""
        source, path = self.source, self.source.files[split].path
        get = source.obtain or (
            f"download it with `hf download {source.repo} {path} --repo-type dataset --revision {source.revision} "
            f"--local-dir {folder}/{source.repo}`"
        )
        if folder is None:
            return f"task {self.task}: {path} is not on the Hub: {get}, and give its folder as `data` in the plan"
        names = (source.repo, source.repo.split("/")[-1], self.task, *source.folders)
        places = ", ".join(str(folder / name) for name in dict.fromkeys((*names, "")))
        return (
            f"task {self.task}: no {split} split: looked for {path} of {source.repo}, or {split}.parquet (.arrow, "
            f".jsonl, .json, .csv, .tsv) or {split}/*, in {places}; {get}"
        )


def source_task(
    name: str,
    label_words: tuple[str, ...],
    templates: tuple[Template, ...],
    source: Source,
    demonstrations_of: Task | None = None,
    halve: bool = True,
) -> Task:
    """A task on a public dataset; a transfer task names the one whose demonstrations it takes.

    Args:
        name, label_words, templates, source: the task's own.
        demonstrations_of: the task that lends a transfer task its pool.
        halve: whether that pool may be half of its owner's single split.
    """
    owner = demonstrations_of.load if demonstrations_of else None
    assert owner is None or isinstance(owner, SourceRows), "only a task with a source can lend its pool"
    if owner and not halve:
        owner = replace(owner, source=replace(owner.source, single_split=None))
    return Task(
        name=name,
        n_labels=len(label_words),
        label_words=label_words,
        templates=templates,
        load=SourceRows(name, source, owner),
        source=f"{source}; demonstrations of {demonstrations_of.name}" if demonstrations_of else str(source),
        demonstrations_of=demonstrations_of.name if demonstrations_of else None,
    )


def pinned(task: Task, revisions: Mapping[str, str]) -> Task:
    """The task with the repositories it reads at other revisions, such as commits; others as they are.

    Args:
        task: any task; one without a repository is returned as it is.
        revisions: repository -> commit, branch or tag.

    Raises:
        PlanError: a revision is not a name.
    """
    for repo, revision in sorted(revisions.items()):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", revision) or ".." in revision:
            raise PlanError(f"revision {revision!r} of {repo}: give a commit (40 hex digits), a branch or a tag")
    if not isinstance(task.load, SourceRows):
        return task
    load = task.load.at(revisions)
    return replace(task, load=load, source=task.source.replace(str(task.load.source), str(load.source)))


def repositories(task: Task) -> tuple[str, ...]:
    """The dataset repositories that a task reads; none for one whose rows are made or a plan's own."""
    return task.load.repositories if isinstance(task.load, SourceRows) else ()
