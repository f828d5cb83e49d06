"""Stored contributions as arrays: rows of the table `contributions` to (example, component, label). No torch.

rows = analysis.load(OUT, "contributions").filter(pl.col("task") == "sentiment", pl.col("step") == 512).collect()
arrays = contribution_arrays(rows)
arrays.contributions.sum(1) + arrays.constant  # = arrays.full, the full model's label logits
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from dynamics.components import parse_component
from dynamics.errors import StoreError
from dynamics.results.file_names import Part
from dynamics.results.schema import KEYS
from dynamics.results.store import ResultStore, read_part
from dynamics.unit_arrays import LabelLogits, UnitArrays


@dataclass(frozen=True)
class ContributionArrays:
    """The arrays in some rows of `contributions`, in logits, in the order of the rows.

    Attributes:
        components: (component,) names.
        contributions: (example, component, label) float32.
        constant: (example, label) float32, the part no component carries.
        full: (example, label) float32, the full model's label logits.
    """

    components: tuple[str, ...]
    contributions: np.ndarray
    constant: np.ndarray
    full: np.ndarray


def contribution_arrays(rows: pl.DataFrame) -> ContributionArrays:
    """The arrays of rows that share their component and label axes: of one model, and of tasks with as many labels.

    Args:
        rows: rows of `contributions`, one or more; columns `components`, `contributions`, `constant` and `full`.

    Raises:
        ValueError: there are no rows, or their axes differ.
    """
    names = rows["components"].unique()
    if len(names) != 1:
        raise ValueError(
            f"{len(rows)} rows of `contributions` have {len(names)} different component axes; give the rows of one "
            "model, one or more"
        )
    components = tuple(names[0].split(" "))
    full = _matrix(rows["full"])
    return ContributionArrays(
        components=components,
        contributions=_matrix(rows["contributions"]).reshape(len(rows), len(components), full.shape[1]),
        constant=_matrix(rows["constant"]),
        full=full,
    )


def unit_arrays(
    contributions: pl.DataFrame, units: pl.DataFrame, predictions: pl.DataFrame | None = None
) -> list[UnitArrays]:
    """The arrays of each unit, as they were when it was computed, in the order of first rows.

    Args:
        contributions: all rows of one or more units.
        units: their rows of `units`, or more; columns `unit_id` and `n_shots_used`.
        predictions: their rows of `predictions`, which name the examples that were skipped; without it there are none.
    """
    n_shots_used = dict(units.select("unit_id", "n_shots_used").iter_rows())
    skipped = None if predictions is None else predictions.filter(pl.col("reason").is_not_null())
    return [
        _unit(rows, n_shots_used[unit_id], None if skipped is None else skipped.filter(unit_id=unit_id))
        for (unit_id,), rows in contributions.group_by("unit_id", maintain_order=True)
    ]


def read_unit_arrays(store: ResultStore, part: Part) -> list[UnitArrays]:
    """The arrays of each unit of a committed part, as they were when it was computed.

    Raises:
        StoreError: rows are lost, so that what is computed from the others would be of other examples.
    """
    contributions, units, predictions = (
        read_part(store, table, part) for table in ("contributions", "units", "predictions")
    )
    _check_rows(store, part, contributions, units, predictions)
    return unit_arrays(contributions, units, predictions)


def read_label_logits(store: ResultStore, part: Part) -> dict[str, LabelLogits]:
    """The full model's label logits on the test rows of each unit of a committed part, by unit_id.

    Raises:
        StoreError: rows are lost.
    """
    contributions = read_part(store, "contributions", part, ["unit_id", "split", "example_id", "gold", "full"])
    predictions = read_part(store, "predictions", part, ["unit_id", "reason"])
    _check_rows(store, part, contributions, read_part(store, "units", part), predictions)
    by_unit = contributions.filter(split="test").partition_by("unit_id", as_dict=True)
    return {
        unit_id: LabelLogits(
            rows["example_id"].to_list(), rows["gold"].to_numpy().astype(np.int64), _matrix(rows["full"])
        )
        for (unit_id,), rows in by_unit.items()
    }


def _check_rows(
    store: ResultStore, part: Part, contributions: pl.DataFrame, units: pl.DataFrame, predictions: pl.DataFrame
) -> None:
    """Check that the rows of a part are as many as `units` says.

    Raises:
        StoreError: some are lost.
    """
    run = contributions.group_by("unit_id").agg(n_run=pl.len())
    skipped = predictions.group_by("unit_id").agg(skipped=pl.col("reason").is_not_null().sum())
    stored = units.join(run, on="unit_id", how="left").join(skipped, on="unit_id", how="left")
    n_run, n_skipped = pl.col("n_run").fill_null(0), pl.col("skipped").fill_null(0)
    lost = stored.filter((n_run != pl.col("n_test") + pl.col("n_train")) | (n_skipped != pl.col("n_skipped")))
    if len(lost):
        raise StoreError(
            f"{part.model} step {part.step} {part.task}, part {part.name}: rows of {len(lost)} units are lost from "
            f"contributions or predictions; `pythia-emergence verify {store.root} --repair` deletes the part, then the "
            "same sweep command computes it again"
        )


def _unit(rows: pl.DataFrame, n_shots_used: int, skipped: pl.DataFrame | None) -> UnitArrays:
    arrays = contribution_arrays(rows)
    return UnitArrays(
        keys=rows.select(KEYS.keys()).row(0, named=True),
        components=tuple(parse_component(name) for name in arrays.components),
        split=rows["split"].to_list(),
        example_id=rows["example_id"].to_list(),
        gold=rows["gold"].to_numpy().astype(np.int64),
        contributions=arrays.contributions,
        constant=arrays.constant[0],
        full=arrays.full,
        n_shots_used=n_shots_used,
        skipped=() if skipped is None else tuple(skipped.select("split", "example_id", "gold", "reason").iter_rows()),
        groups=_groups(rows) | ({} if skipped is None else _groups(skipped)),
    )


def _groups(rows: pl.DataFrame) -> dict[str, str]:
    """example_id -> group, of the rows that are not alone in it."""
    return dict(rows.select("example_id", "group").drop_nulls().iter_rows()) if "group" in rows.columns else {}


def _matrix(lists: pl.Series) -> np.ndarray:
    """A column of lists of one length: (row, length)."""
    lengths = lists.list.len().unique().sort().to_list()
    if len(lengths) != 1:
        raise ValueError(
            f"lists of `{lists.name}` have lengths {lengths}; give rows of one model, of tasks with as many labels"
        )
    return lists.explode().to_numpy().reshape(len(lists), -1)
