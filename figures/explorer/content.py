"""Content of the explorer: tables of analyses as the JSON and the blocks that its page reads."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.component_curves import FULL
from dynamics.results.places import Place
from figures.component_onsets import CRITERION
from figures.explorer.blocks import encode, share_denominator
from figures.style import CURVES, PANEL
from figures.training_axis import largest_fit

MEASURES = ("accuracy", "centred_accuracy", "share", "top_share")
"""Columns of `component_curves` that are in blocks."""
SHOWN = ("B1", "T1", "Calib+", "COMP RW", "Cross-seed T1", "Held-out T1", FULL)
"""Curves in the order they are drawn; the last one on top."""
ONSET = ["component", "t", "low", "high", "emerges", "discovery", "plateau", "censored"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """What the explorer's page contains.

    Attributes:
        index: what there is to choose from, and where each block is: [number, minimum, unit, bytes].
        groups: curves and onsets of each entry of `index["groups"]`.
        blocks: texts.
    """

    index: Json
    groups: Sequence[Json]
    blocks: Sequence[str]

    @property
    def n_bytes(self) -> int:
        """Length of all blocks."""
        return sum(len(text) for text in self.blocks)


@dataclass
class _Blocks:
    """Texts of blocks by their number; groups of one model share those of its checkpoints."""

    texts: dict[str, int] = field(default_factory=dict)

    def add(self, values: np.ndarray, denominator: int = 0) -> list[float] | None:
        block = encode(values, denominator)
        if block is None:
            return None
        number = self.texts.setdefault(block.text, len(self.texts))
        return [number, block.minimum, block.unit, block.n_bytes]


def explorer_content(
    curves: pl.DataFrame, tables: Mapping[str, pl.DataFrame], checkpoints: pl.DataFrame, results: Place
) -> Content:
    """All that the explorer shows.

    Args:
        curves: of the analysis `component_curves`.
        tables: of `emergence`, `bias_or_knowledge`, `component_onsets` and `mechanisms`, those that there are.
        checkpoints: of `provenance`, for the tokens that a step has seen.
        results: where the tables are from.
    """
    blocks = _Blocks()
    parts = curves.partition_by(PANEL, maintain_order=True)
    sets: list[list[list]] = []
    index = [_index(part, tables, checkpoints, blocks, sets) for part in parts]
    groups = [_group(part.row(0, named=True), tables) for part in parts]
    order = {name: {"colour": CURVES[name]["color"], "faint": name in ("T1", "B1")} for name in SHOWN}
    head = {"results": shown_location(results), "curves": order, "components": sets, "groups": index}
    return Content(head, groups, list(blocks.texts))


def shown_location(results: Place) -> str:
    """Where results are, as a command run in the same folder would name it."""
    if not isinstance(results, Path):
        return str(results)
    below = os.path.relpath(results)
    return str(results) if below.startswith("..") else below


def as_json(content: object) -> str:
    """JSON that may stand in a script element, whatever its texts are."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _index(
    part: pl.DataFrame, tables: Mapping[str, pl.DataFrame], checkpoints: pl.DataFrame, blocks: _Blocks, sets: list
) -> Json:
    """A group's settings, axes and places of its blocks."""
    first = part.row(0, named=True)
    steps = part["step"].unique().sort().to_list()
    components = part.select("component", "kind", "layer", "head").unique().sort("layer", "kind", "head", "component")
    components = pl.concat([components.filter(pl.col("kind") != FULL), components.filter(kind=FULL)])
    columns = [components[name].to_list() for name in components.columns]
    if columns not in sets:
        sets.append(columns)
    by_template = part.partition_by("template", as_dict=True, maintain_order=True)
    tokens = dict(_rows_of(checkpoints, first, "model", "dtype", "control").select("step", "tokens_seen").rows())
    return {
        **{name: first[name] for name in PANEL},
        "n_labels": part["n_labels"].max(),
        "n_examples": part["n_examples"].max(),
        "flagged": first.get("flagged", ""),
        "steps": steps,
        "tokens": [tokens.get(step) for step in steps],
        "components": sets.index(columns),
        "templates": {str(name): _template(rows, steps, columns[0], blocks) for (name,), rows in by_template.items()},
        "mechanisms": _mechanisms(tables.get("mechanisms"), first, steps, columns[0], blocks),
    }


def _template(rows: pl.DataFrame, steps: list[int], names: list[str], blocks: _Blocks) -> Json:
    """Blocks of every measure under one template, and the prompts of each step."""
    n_prompts = dict(rows.select("step", "n_prompts").unique("step").rows())
    sizes = rows.select(pl.col("n_prompts", "n_examples", "n_labels").max()).row(0)
    found = {name: blocks.add(_matrix(rows, name, steps, names), share_denominator(*sizes)) for name in MEASURES}
    return {"n_prompts": [n_prompts.get(step, 0) for step in steps], **found}


def _mechanisms(
    table: pl.DataFrame | None, group: Mapping[str, Any], steps: list[int], names: list[str], blocks: _Blocks
) -> dict[str, list[float] | None]:
    """Blocks of every measure of heads that the group has, and those of its checkpoints."""
    if table is None or table.is_empty():
        return {}
    of_model = _rows_of(table, group, "model", "dtype", "control")
    of_group = of_model.filter((pl.col("task") == "") | ((pl.col("task") == group["task"]) & _same_shots(group)))
    known = of_group.filter(pl.col("step").is_in(steps), pl.col("component").is_in(names))
    by_measure = known.partition_by("measure", as_dict=True, maintain_order=True)
    return {str(name): blocks.add(_matrix(rows, "value", steps, names)) for (name,), rows in by_measure.items()}


def _matrix(rows: pl.DataFrame, column: str, steps: list[int], names: list[str]) -> np.ndarray:
    """(step, component) of one column, NaN where there is no row."""
    values = np.full((len(steps), len(names)), np.nan)
    place = [
        rows[name].replace_strict(axis, list(range(len(axis))), return_dtype=pl.Int64).to_numpy()
        for name, axis in (("step", steps), ("component", names))
    ]
    values[place[0], place[1]] = rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values


def _group(group: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Json:
    """Curves under all templates and under each, and onsets of components."""
    onsets = _rows_of(tables.get("component_onsets"), group, *PANEL)
    if len(onsets):
        onsets = onsets.filter(criterion=CRITERION).select(ONSET)
    return {
        "curves": [*_curves(_rows_of(tables.get("emergence"), group, *PANEL)), *_curves_by_template(group, tables)],
        "onsets": {name: _numbers(onsets[name]) for name in onsets.columns},
    }


def _curves(rows: pl.DataFrame) -> list[Json]:
    """Curves of `emergence`, raw and centred, with their intervals and the band of permuted labels."""
    found = []
    for name in SHOWN if len(rows) else ():
        for centred in (False, True):
            curve = largest_fit(rows.filter(curve=name, centred=centred)).sort("step")
            columns = ("step", "mean", "low", "high", "band")
            if len(curve):
                numbers = {column: _numbers(curve[column]) for column in columns}
                found.append(_named(curve, name, "", centred=centred) | numbers)
    return found


def _curves_by_template(group: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> list[Json]:
    """Curves of `bias_or_knowledge` under one template, which have no intervals of their own."""
    rows = _rows_of(tables.get("bias_or_knowledge"), group, *PANEL)
    found = []
    for name in SHOWN if len(rows) else ():
        for of_template in rows.filter(pl.col("template") != "", curve=name).partition_by("template"):
            curve = largest_fit(of_template).sort("step")
            for centred, column in ((False, "raw"), (True, "centred")):
                if curve[column].is_not_null().any():
                    numbers = {"step": _numbers(curve["step"]), "mean": _numbers(curve[column])}
                    found.append(_named(curve, name, curve["template"][0], centred=centred) | numbers)
    return found


def _named(curve: pl.DataFrame, name: str, template: str, *, centred: bool) -> Json:
    n_labelled = curve["n_labelled"][0]
    return {"curve": name, "template": template, "centred": centred, "n_labelled": n_labelled}


def _rows_of(table: pl.DataFrame | None, group: Mapping[str, Any], *keys: str) -> pl.DataFrame:
    """The rows of a table that have the group's values of some columns; none where there is no such table."""
    if table is None or table.is_empty():
        return pl.DataFrame()
    return table.filter(pl.all_horizontal(pl.col(name) == group[name] for name in keys))


def _same_shots(group: Mapping[str, Any]) -> pl.Expr:
    return pl.col("n_shots") == group["n_shots"]


def _numbers(column: pl.Series) -> list:
    """Values for JSON: floats to six significant digits, no NaN."""
    if column.dtype.is_float():
        return column.set(~column.is_finite().fill_null(True), None).round_sig_figs(6).to_list()
    return column.to_list()
