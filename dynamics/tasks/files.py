"""Files of a task's rows: found in a local folder or fetched from the Hub, and read in each format."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from dynamics.errors import CheckpointError, PlanError, first_line, unknown
from dynamics.hub.datasets import fetch_dataset_file


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split.

    Attributes:
        paths: in order.
        place: their location as recorded in results: a repository with its revision and commit, or `local` and a path
            inside the folder.
        named: whether their path names the dataset or task; files in the folder itself might belong to another one.
    """

    paths: tuple[Path, ...]
    place: str
    named: bool = True


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
            if paths := [exact] if exact.is_file() else _of_split(base, split):
                return SplitFiles(tuple(paths), f"local {paths[0].relative_to(folder)}", named)
    return None


def _of_split(base: Path, split: str) -> list[Path]:
    """The files named after the split, all of one format."""
    patterns = (f"{split}{{}}", f"{split}-*{{}}", f"{split}/*{{}}")
    matches = (sorted(base.glob(pattern.format(suffix))) for pattern in patterns for suffix in READERS)
    files = ([path for path in paths if path.is_file()] for paths in matches)
    return next((paths for paths in files if paths), [])


def hub_file(repo: str, path: str, revision: str) -> SplitFiles:
    """One file of a dataset repository, from the cache or the network.

    Raises:
        PlanError: it cannot be fetched or is damaged; one line, with the first line of the client's error.
    """
    try:
        cached = fetch_dataset_file(repo, path, revision)
    except CheckpointError as error:
        raise PlanError(f"cannot get {error}") from error
    commit = re.search(r"/snapshots/([0-9a-f]{40})/", cached.as_posix())
    exact = f" ({commit[1]})" if commit and commit[1] != revision else ""
    return SplitFiles((cached,), f"{repo}@{revision}{exact} {path}")


def read_tables(paths: Sequence[Path]) -> pl.DataFrame:
    """The rows of all files, in order.

    Raises:
        PlanError: a file has an unknown format or cannot be read, or two do not have the same columns.
    """
    tables = [read_table(path) for path in paths]
    if any(table.columns != tables[0].columns for table in tables):
        raise PlanError(
            f"{paths[0].parent}: its {len(paths)} files do not have the same columns; keep those of one dataset"
        )
    return pl.concat(tables, how="vertical_relaxed") if len(tables) > 1 else tables[0]


def read_table(path: Path) -> pl.DataFrame:
    """The rows of one file, in the format of its extension; all columns of CSV and TSV files are text.

    Raises:
        PlanError: no such file, an unknown format, or content that does not have that format.
    """
    if path.suffix not in READERS:
        raise PlanError(f"{path}: " + unknown("file format", path.suffix, READERS))
    if not path.is_file():
        raise PlanError(f"there is no file {path}; check the path and its folder")
    try:
        return READERS[path.suffix](path.read_bytes())
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        reason = first_line(error, 160)
        raise PlanError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from error


def _read_arrow(content: bytes) -> pl.DataFrame:
    """Read an Arrow file or, as `datasets` writes it, an Arrow stream."""
    open_arrow = pa.ipc.open_file if content.startswith(b"ARROW1") else pa.ipc.open_stream
    return pl.DataFrame(open_arrow(pa.BufferReader(content)).read_all())


def _read_json(content: bytes) -> pl.DataFrame:
    """Read a JSON list of objects, at the top level or as the only list of a top-level object."""
    value = json.loads(content.decode("utf-8-sig"))
    lists = [part for part in value.values() if isinstance(part, list)] if isinstance(value, dict) else [value]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise ValueError("it does not contain a single list of rows; write a list of objects, or JSON Lines as .jsonl")
    return pl.from_dicts(lists[0], infer_schema_length=None)


def _read_json_lines(content: bytes) -> pl.DataFrame:
    return pl.read_ndjson(BytesIO(content.removeprefix(BOM_UTF8)), infer_schema_length=None)


def _read_text(separator: str) -> Callable[[bytes], pl.DataFrame]:
    return lambda content: pl.read_csv(BytesIO(content), separator=separator, infer_schema=False)


READERS: Mapping[str, Callable[[bytes], pl.DataFrame]] = {
    ".parquet": lambda content: pl.read_parquet(BytesIO(content)),
    ".arrow": _read_arrow,
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_text(","),
    ".tsv": _read_text("\t"),
}
"""Reader of each format, by file extension. They take the content: Polars takes a path for a pattern or a URL."""
