"""Tables of analyses, kept until the results, the code or a library have changed.

A table is a Parquet file with a checksum in its footer, written whole or not at all. The footer also holds what the
table was computed from: the hash of the code (`versions`), and for each result table that was read the hash of the
listing of its files (`reading.snapshots`). Which were read is recorded while it is computed, and declared nowhere.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.cache.folders import folders, keep
from analysis.cache.versions import code_hash
from analysis.reading.snapshots import Snapshot, list_table, record, recorded, snapshot
from dynamics.results.checksums import damage_of, encode
from dynamics.results.places import Place, read

_From = tuple[pl.DataFrame, Collection[str]]
"""A table, and the result tables that were read for it."""
_FROM = b"pythia-emergence.from"


def kept_table(name: str, results: Place | str, compute: Callable[[Place], Mapping[str, pl.DataFrame]]) -> pl.DataFrame:
    """A table that is computed from results: the kept one where it is still theirs, or else a new one, which is kept.

    Args:
        name: which.
        results: the results.
        compute: computes it, and others with it that cost nothing more, by name; all are kept.
    """
    with snapshot(results) as now:
        if name not in now.tables:
            kept = None if now.fresh else _kept(name, now)
            now.tables.update(_computed(now, compute) if kept is None else {name: kept})
        found, read_tables = now.tables[name]
        record(*read_tables)
        return found


def _computed(now: Snapshot, compute: Callable[[Place], Mapping[str, pl.DataFrame]]) -> dict[str, _From]:
    with recorded() as read_tables:
        tables = compute(now.store.root)
    _keep(tables, now, read_tables)
    return {name: (computed, read_tables) for name, computed in tables.items()}


def _kept(name: str, now: Snapshot) -> _From | None:
    """A table that was kept and is still that of the results, and what it was computed from; a damaged one is not."""
    for folder in folders(now.store.root):
        try:
            data = read(folder / f"{name}.parquet")
        except OSError:
            continue
        if damage_of(data) is None:
            footer = pq.read_metadata(pa.BufferReader(data)).metadata or {}
            computed_from = json.loads(footer.get(_FROM, b'{"code": ""}'))
            if computed_from["code"] == code_hash() and _same(computed_from["listings"], now):
                return pl.read_parquet(data), computed_from["listings"]
    return None


def _same(listings: Mapping[str, str], now: Snapshot) -> bool:
    return all(now.listing(table).hash == hashed for table, hashed in listings.items())


def _keep(tables: Mapping[str, pl.DataFrame], now: Snapshot, read_tables: Iterable[str]) -> None:
    """Keep tables, unless a sweep has changed what they were computed from meanwhile."""
    listings = {table: now.listing(table) for table in sorted(read_tables)}
    hashes = {table: before.hash for table, before in listings.items()}
    is_settled = all(before.settled for before in listings.values())
    if not is_settled or any(list_table(now.store, table).hash != before for table, before in hashes.items()):
        return
    computed_from = json.dumps({"code": code_hash(), "listings": hashes})
    for name, computed in tables.items():
        rows = computed.to_arrow().replace_schema_metadata({_FROM: computed_from.encode()})
        keep(now.store.root, f"{name}.parquet", encode(rows, f"analysis {name}"))
