"""The files of a split of a task's rows: found in a local folder, or fetched from the Hub. Reads none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynamics.errors import CheckpointError, PlanError

FORMATS = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
"""Extensions of the files that can be read, in order of preference; `dynamics.tasks.files` has a reader of each."""


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split.

    Attributes:
        paths: in order.
        place: their location as recorded in results: a repository with its revision and commit, or `local` and a path
            inside the folder.
        named: whether their path is the one that the task gives, or names the dataset or task; other files may hold
            other rows, so their number is compared with the published one.
        others: other files that are named after the split, none where the path is the one that the task gives; either
            may be meant, so the number of rows is compared with the published one.
        notes: that another path of the Hub was used than the task gives.
    """

    paths: tuple[Path, ...]
    place: str
    named: bool = True
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def local_files(folder: Path, repo: str, names: Sequence[str], path: str, split: str) -> SplitFiles | None:
    """The files of a split in a local folder; None where it has none.

    Searched are the subfolders named like the repository (in full, or its last part), those in `names`, and the folder
    itself; in each, the repository's own path, its file name, then `<split>.<format>`, `<split>-*.<format>` and
    `<split>/*.<format>`, also in the first folder of that path. So `glue/rte/validation/data-00000-of-00001.arrow` is
    accepted for `rte/validation-00000-of-00001.parquet` of nyu-mll/glue.
    """
    first = Path(path).parts[0]
    holds_many = first not in ("data", Path(path).name)
    roots = [(repo, not holds_many), (repo.split("/")[-1], not holds_many), *((name, True) for name in names)]
    for name, is_own in (*roots, ("", False)):
        root = folder / name
        for base, exact, named in (
            (root / first, root / path, is_own or holds_many),
            (root, root / Path(path).name, is_own),
        ):
            if exact.is_file():
                return SplitFiles((exact,), f"local {exact.relative_to(folder)}", named)
            if found := _of_split(base, split):
                paths, *others = found
                more = tuple(str(path.relative_to(folder)) for files in others for path in files)
                return SplitFiles(tuple(paths), f"local {paths[0].relative_to(folder)}", named, more)
    return None


def _of_split(base: Path, split: str) -> list[list[Path]]:
    """The files named after the split, those of each pattern and format together, in order of preference."""
    patterns = (f"{split}{{}}", f"{split}-*{{}}", f"{split}/*{{}}")
    matches = (sorted(base.glob(pattern.format(suffix))) for pattern in patterns for suffix in FORMATS)
    files = ([path for path in paths if path.is_file()] for paths in matches)
    return [paths for paths in files if paths]


def hub_files(repo: str, split: str, path: str, revision: str, n_rows: int | None = None) -> SplitFiles:
    """The files of a split in a dataset repository, from the cache or the network: at a path, or by name and `n_rows`.

    Raises:
        PlanError: they cannot be fetched or are damaged; one line, with the first line of the client's error.
    """
    from dynamics.hub.datasets import fetch_dataset_split  # here, since local files need no client of the Hub

    try:
        fetched = fetch_dataset_split(repo, split, path, revision, n_rows)
    except CheckpointError as error:
        raise PlanError(f"cannot get {error}") from error
    exact = f" ({fetched.commit_sha})" if fetched.commit_sha != fetched.revision else ""
    first, *others = fetched.names
    names = f"{first} to {others[-1]}" if others else first
    place = f"{repo}@{fetched.revision}{exact} {names}"
    if (fetched.names, fetched.revision) == ((path,), revision):
        return SplitFiles(fetched.paths, place)
    by = "its name" if n_rows is None else f"its name and its {n_rows} rows"
    note = f"{path} was not found at {repo}@{revision}: {place} is read, by {by}"
    return SplitFiles(fetched.paths, place, named=False, others=fetched.others, notes=(note,))
