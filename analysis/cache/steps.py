"""What is computed from one step alone, kept for as long as the files of that step are the same.

Adding a checkpoint to results then costs what is new. One file of arrays for each step and group of prompts:

    <folder>/<kind>/<hash of the group>/<step>-<hash of all that decides the arrays>

That hash covers the step's own files (path, size, time of change), the settings, the code and the libraries. A step has
one file in its folder: writing it deletes those that it replaces, and files of steps and groups that the results no
longer have are deleted at the end of a pass. So what is kept grows with the results, and not with time.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from analysis.cache.parallel import mapped
from analysis.cache.versions import code_hash
from analysis.reading.groups import Group
from analysis.reading.snapshots import Listing, list_table, record, recorded, snapshot
from dynamics.atomic_write import TEMPORARY, write_atomically
from dynamics.identity import canonical_json, short_hash
from dynamics.results.places import Place
from dynamics.results.store import Within

Arrays = dict[str, np.ndarray]
TABLES = ("units", "predictions", "component_scores")
"""The result tables that a step's arrays may be computed from."""
_NO_KEY = "changing"
_DAY = 24 * 3600
_DIGEST_BYTES, _SIZE_BYTES = 32, 8
_VALUES, _INDEX = "|values", "|index"
_ZSTD = pa.Codec("zstd", compression_level=5)


@dataclass(frozen=True)
class StepWork:
    """Arrays to be computed from the files of one step of a group.

    Attributes:
        kind: a name for what is computed, which is that of a folder.
        compute: a function of a module, from (results, group, step, settings) to arrays. It reads that step's rows of
            the group in `TABLES`, and no others.
        results: the folder.
        group, step: whose.
        form: of several kinds of arrays of the group, which.
        settings: all else that decides the arrays; a dataclass of plain values.
    """

    kind: str
    compute: Callable[..., Arrays]
    results: Place
    group: Group
    step: int
    form: str
    settings: object

    @property
    def within(self) -> Within:
        """The parts that hold the step."""
        return Within(self.group.model, self.group.task, [self.step])

    def folder(self, of_all: Path) -> Path:
        """The folder of all steps of the group."""
        return of_all / self.kind / short_hash(canonical_json([self.group, self.form]))

    def key(self, listings: Sequence[Listing]) -> str:
        """The hash of all that decides the arrays, by the step's files in `TABLES`."""
        of_step = [listing.of_part(self.group.model, self.step, self.group.task) for listing in listings]
        if not all(listing.settled for listing in of_step):
            return _NO_KEY
        files = [listing.hash for listing in of_step]
        return short_hash(canonical_json([code_hash(), self.kind, self.group, self.step, self.settings, files]))

    def arrays(self) -> Arrays:
        """The arrays, computed."""
        with snapshot(self.results, within=self.within), recorded() as read:
            arrays = self.compute(self.results, self.group, self.step, self.settings)
        assert read <= set(TABLES), f"{self.kind} reads {read}"
        return arrays


def step_files(works: Sequence[StepWork], of_all: Path, what: str) -> list[Path]:
    """The files of the arrays of steps, in that order; those that are missing are computed and written.

    Args:
        works: all of one kind, of all groups and steps of the results.
        of_all: the folder of all that is kept of steps.
        what: the items, in words, for messages.
    """
    record(*TABLES)
    files = [_file(work, of_all) for work in works]
    missing = [i for i, file in enumerate(files) if file.name.endswith(_NO_KEY) or not file.exists()]
    for i, (key, data) in zip(missing, mapped(_computed, [works[i] for i in missing], what), strict=True):
        files[i] = files[i].with_name(f"{works[i].step}-{key}")
        write_atomically(files[i], data)
        _delete(other for other in files[i].parent.glob(f"{works[i].step}-*") if other != files[i])
    if works:
        _delete_others(files, of_all / works[0].kind)
    return files


def read_step(work: StepWork, file: Path) -> Arrays:
    """The arrays of a file of `step_files`; computed again if it was damaged or deleted since."""
    with suppress(OSError, ValueError):
        return _unpacked(file.read_bytes())
    return work.arrays()


def _file(work: StepWork, of_all: Path) -> Path:
    record(*TABLES)
    with snapshot(work.results) as now:
        key = _NO_KEY if now.fresh else work.key([now.listing(table) for table in TABLES])
    return work.folder(of_all) / f"{work.step}-{key}"


def _computed(work: StepWork) -> tuple[str, bytes]:
    """Key and packed arrays; the key tells whether a sweep changed the step's files meanwhile."""
    before = work.key(_listings(work))
    data = _packed(work.arrays())
    return (before if before == work.key(_listings(work)) else _NO_KEY), data


def _listings(work: StepWork) -> list[Listing]:
    with snapshot(work.results) as now:
        return [list_table(now.store, table, work.within) for table in TABLES]


def _delete(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _delete_others(files: Sequence[Path], of_kind: Path) -> None:
    """Delete files of steps and groups that the results no longer have; and what a kill left, when it is a day old."""
    current, folders = set(files), {file.parent for file in files}
    for file in of_kind.glob("*/*"):
        with suppress(FileNotFoundError):
            is_new = file.name.startswith(TEMPORARY) and time.time() - file.stat().st_mtime < _DAY
            if file not in current and not is_new:  # another process may be writing a new one
                file.unlink()
    for folder in of_kind.iterdir():
        if folder not in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _packed(arrays: Arrays) -> bytes:
    """Arrays as bytes: the SHA-256 of the rest, its size before compression, and an `.npz` file, compressed by zstd.

    Accuracies take few values, so an array of numbers is stored as its distinct values and an index into them.
    """
    coded: Arrays = {}
    for name, values in arrays.items():
        order = _order(values)
        bits = values.ravel(order).view(f"u{values.itemsize}")
        distinct, index = np.unique(bits, return_inverse=True) if values.dtype.kind == "f" else (bits, bits)
        if len(distinct) < min(2**16, len(bits) // 2):
            coded[f"{name}{_VALUES}"] = distinct.view(values.dtype)
            coded[f"{name}{_INDEX}"] = index.astype(np.min_scalar_type(len(distinct))).reshape(
                values.shape, order=order
            )
        else:
            coded[name] = values
    buffer = BytesIO()
    np.savez(buffer, **coded)  # pyright: ignore[reportArgumentType]
    data = buffer.getvalue()
    body = len(data).to_bytes(_SIZE_BYTES, "little") + _ZSTD.compress(data, asbytes=True)
    return hashlib.sha256(body).digest() + body


def _unpacked(data: bytes) -> Arrays:
    """The arrays of `_packed`.

    Raises:
        ValueError: the bytes are not as they were written.
    """
    digest, body = data[:_DIGEST_BYTES], memoryview(data)[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("the checksum differs")
    size = int.from_bytes(body[:_SIZE_BYTES], "little")
    with np.load(BytesIO(_ZSTD.decompress(body[_SIZE_BYTES:], size, asbytes=True))) as file:
        coded = dict(file)
    names = {name.removesuffix(_VALUES): name for name in coded if not name.endswith(_INDEX)}
    return {n: coded[n] if n == name else _decoded(coded[name], coded[f"{n}{_INDEX}"]) for n, name in names.items()}


def _decoded(distinct: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.asarray(distinct[index], order=_order(index))


def _order(values: np.ndarray) -> Literal["C", "F"]:
    """The order in memory, which decides the order of additions in a sum, and so its last digits."""
    return "F" if values.flags.fnc else "C"
