"""Tasks on public datasets: rows read from the Hub, or from a local folder with the same files.

The revisions given by the tasks are branches, not commits, because no commit could be looked up when the tasks were
written. A plan may pin one (`pinned`). Either way the stored source contains the commit that the Hub resolved, and the
task's hash covers the text and label of every row, so that results of changed rows are never mixed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.errors import PlanError
from dynamics.tasks import Task, TaskRows, Template
from dynamics.tasks.groups import halved, separated
from dynamics.tasks.rows import Columns, SplitRows, table_rows
from dynamics.tasks.split_files import SplitFiles, hub_files, local_files


@dataclass(frozen=True)
class File:
    """File of a split in the repository, and its published number of rows, where known.

    On the Hub it may have moved: the split is then found by its name, and by that number.
    """

    path: str
    n_rows: int | None = None


@dataclass(frozen=True)
class Source:
    """Location of a dataset, and the meaning of its columns.

    Attributes:
        repo: dataset repository on the Hub.
        files: split -> file.
        columns: template fields, label and its raw values.
        revision: branch, tag or commit.
        pool: the split that demonstrations and training rows come from.
        test: the labelled split that test rows come from.
        single_split: the split that is halved (seeded) into pool and test where a local folder has no other split.
            None: a missing split is an error.
        folders: other names that the dataset's subfolder of a local folder may have.
        obtain: how to get the files into the folder `{data}`, for a dataset that is not on the Hub and is read from a
            local folder only. One that has the published file's name must have its number of rows.
        site: where the repository of such a dataset is, such as `github.com`.
    """

    repo: str
    files: Mapping[str, File]
    columns: Columns
    revision: str = "main"
    pool: str = "train"
    test: str = "validation"
    single_split: str | None = None
    folders: tuple[str, ...] = ()
    obtain: str = ""
    site: str = ""

    def how_to_get(self, folder: Path | None = None) -> str:
        """How to get the files of a dataset that is not on the Hub into a folder, in the text `DATA` where None."""
        return self.obtain.format(data=folder or "DATA")

    def __str__(self) -> str:
        parts = [(part, split) for part, split in (("pool", self.pool), ("test", self.test)) if split in self.files]
        sizes = {split: f" ({file.n_rows} rows)" if file.n_rows else "" for split, file in self.files.items()}
        splits = "; ".join(f"{part} {split}{sizes[split]}" for part, split in parts)
        if not self.obtain:
            return f"{self.repo}@{self.revision}: {splits}"
        paths = ", ".join(file.path for file in self.files.values())
        site = f"{self.site}/" if self.site else ""
        return f"{site}{self.repo}@{self.revision} {paths}, local files only: {splits}"


@dataclass(frozen=True)
class SourceRows:
    """Reader of a task's rows, called with the plan's `data` folder, or None for the Hub.

    `pool_from` reads the pool of a transfer task: it is the reader of the task whose demonstrations it takes. It reads
    that task's test rows too, since which pool rows are left out depends on them.
    """

    task: str
    source: Source
    pool_from: "SourceRows | None" = None

    def __call__(self, folder: Path | None = None) -> TaskRows:
        """All rows, and the files they came from.

        Raises:
            PlanError: a split, file or column is missing, a label has an unknown value, or both splits hold the same
                rows.
        """
        where = f"task {self.task}"
        if self.pool_from is None and self._is_single(folder):
            split = self._read(str(self.source.single_split), folder)
            rows = halved(split.rows, where)
            source = f"{split.source}, halved: {len(rows.pool)} pool, {len(rows.test)} test"
            return replace(rows, source=source, notes=split.notes + rows.notes)
        test = self._read(self.source.test, folder)
        if self.pool_from is not None:
            return self._on_lent_pool(self.pool_from(folder), test)
        pool = self._read(self.source.pool, folder)
        rows = separated(pool.rows, test.rows, where)
        source = f"pool {pool.source}; test {test.source}"
        return replace(rows, source=source, notes=pool.notes + test.notes + rows.notes)

    def _on_lent_pool(self, lender: TaskRows, test: SplitRows) -> TaskRows:
        """The test rows, with the pool that the lender itself takes demonstrations and training rows from."""
        rows = separated(lender.pool, test.rows, f"task {self.task}", lent=True)
        return replace(
            rows,
            source=f"pool of {lender.source}; test {test.source}",
            notes=lender.notes + test.notes + rows.notes,
            n_moved=lender.n_moved,
            n_dropped=lender.n_dropped + rows.n_dropped,
        )

    def with_revisions(self, revisions: Mapping[str, str]) -> "SourceRows":
        """A reader of the same rows at other revisions of the repositories."""
        source = replace(self.source, revision=revisions.get(self.source.repo, self.source.revision))
        pool_from = self.pool_from.with_revisions(revisions) if self.pool_from else None
        return replace(self, source=source, pool_from=pool_from)

    @property
    def repositories(self) -> tuple[str, ...]:
        """The dataset repositories that the rows come from."""
        return (self.source.repo, *(self.pool_from.repositories if self.pool_from else ()))

    def _is_single(self, folder: Path | None) -> bool:
        single = self.source.single_split
        if single is None or folder is None:
            return False
        return self._find(self.source.pool, folder) is None and self._find(single, folder) is not None

    def _read(self, split: str, folder: Path | None) -> SplitRows:
        files = self._find(split, folder) if folder else self._from_hub(split)
        if files is None:
            raise PlanError(self._missing(split, folder))
        from dynamics.tasks.files import read_tables  # here, since plans name tasks whose rows nobody reads

        table, notes = read_tables(files.paths)
        published = self.source.files[split].n_rows
        if files.others and published != table.height:
            is_published = "its number is not published" if published is None else f"{published} were published"
            remedy = "keep only the one that is meant" if folder else "pin a commit that has one in [revisions]"
            raise PlanError(
                f"task {self.task}: {files.place} ({table.height} rows; {is_published}) and {', '.join(files.others)} "
                f"are named after split {split} of {self.source.repo}, so either may be meant; {remedy}"
            )
        is_original = bool(self.source.obtain) and files.paths[0].name == Path(self.source.files[split].path).name
        if (is_original or not files.named) and published not in (None, table.height):
            remedy = (
                f"it is not the published file; {self.source.how_to_get(folder)}"
                if is_original
                else f"it may belong to another dataset. If it does not, move it to {self.task}/ in the same folder"
            )
            raise PlanError(
                f"task {self.task}: {files.paths[0]} has {table.height} rows, but {split} of {self.source.repo} has "
                f"{published}, so {remedy}"
            )
        rows = table_rows(
            table, self.source.columns, prefix=f"{self.task}-{split}", where=f"{files.paths[0]} (task {self.task})"
        )
        return SplitRows(rows, f"{files.place}: {len(rows)} of {table.height} rows", files.notes + notes)

    def _find(self, split: str, folder: Path) -> SplitFiles | None:
        names = (self.task, *self.source.folders)
        return local_files(folder, self.source.repo, names, self.source.files[split].path, split)

    def _from_hub(self, split: str) -> SplitFiles:
        if self.source.obtain:
            raise PlanError(self._missing(split, None))
        try:
            file = self.source.files[split]
            return hub_files(self.source.repo, split, file.path, self.source.revision, file.n_rows)
        except PlanError as error:
            raise PlanError(
                f"task {self.task}: {error}; without network, put the file into a folder as "
                f"{self.source.repo}/{self.source.files[split].path} and give that folder as `data` in the plan"
            ) from error

    def _missing(self, split: str, folder: Path | None) -> str:
        """Message about a missing split: the files and folders searched, and how to get it."""
        source, path = self.source, self.source.files[split].path
        remedy = source.how_to_get(folder) or (
            f"download it with `hf download {source.repo} {path} --repo-type dataset --revision {source.revision} "
            f"--local-dir {folder}/{source.repo}`"
        )
        if folder is None:
            return f"task {self.task}: {path} is not on the Hub: {remedy}, and give DATA as `data` in the plan"
        names = (source.repo, source.repo.split("/")[-1], self.task, *source.folders)
        folders = ", ".join(str(folder / name) for name in dict.fromkeys((*names, "")))
        return (
            f"task {self.task}: no {split} split: looked for {path} of {source.repo}, or {split}.parquet (.arrow, "
            f".jsonl, .json, .csv, .tsv) or {split}/*, in {folders}; {remedy}"
        )


def source_task(
    name: str,
    label_words: tuple[str, ...],
    templates: tuple[Template, ...],
    source: Source,
    demonstrations_of: Task | None = None,
    halve: bool = True,
) -> Task:
    """A task on a public dataset.

    Args:
        name, label_words, templates, source: as in `Task` and `Source`.
        demonstrations_of: for a transfer task, the task whose pool it uses.
        halve: whether that pool may be one half of the other task's single split.
    """
    pool_from = demonstrations_of.load if demonstrations_of else None
    assert pool_from is None or isinstance(pool_from, SourceRows), "the pool of a transfer task needs a source"
    if pool_from and not halve:
        pool_from = replace(pool_from, source=replace(pool_from.source, single_split=None))
    return Task(
        name=name,
        n_labels=len(label_words),
        label_words=label_words,
        templates=templates,
        load=SourceRows(name, source, pool_from),
        source=f"{source}; demonstrations of {demonstrations_of.name}" if demonstrations_of else str(source),
        demonstrations_of=demonstrations_of.name if demonstrations_of else None,
    )


def pinned(task: Task, revisions: Mapping[str, str]) -> Task:
    """The task with its dataset repositories pinned to other revisions, such as commits.

    Args:
        task: any task; one without a repository is returned unchanged.
        revisions: repository -> commit, branch or tag; repositories that are not listed keep their revision.

    Raises:
        PlanError: a revision is not a valid name.
    """
    for repo, revision in sorted(revisions.items()):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", revision) or ".." in revision:
            raise PlanError(
                f"revision {revision!r} of {repo} is not a valid name; give a commit (40 hex digits), a branch or a tag"
            )
    if not isinstance(task.load, SourceRows):
        return task
    load = task.load.with_revisions(revisions)
    return replace(task, load=load, source=task.source.replace(str(task.load.source), str(load.source)))


def repositories(task: Task) -> tuple[str, ...]:
    """The dataset repositories of a task; empty for synthetic rows and for tasks defined in a plan."""
    return task.load.repositories if isinstance(task.load, SourceRows) else ()
