"""Does a head's mechanism appear before the head solves a task?

The step of a head is its onset in `component_onsets` (criterion `null`: its mean accuracy crosses its own band of
permuted labels). The step of a mechanism is the first checkpoint at which a measure is `THRESHOLD` or more: attention
from a token to the one after its earlier occurrence (`prefix_matching`, on random tokens), or from the last token to
the demonstrations' label words (`label_attention`, mean over prompts). Both are shares of attention between 0 and 1.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.component_onsets import component_onsets
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.reading.head_measures import read_checkpoint_measures
from analysis.reading.result_tables import valid_rows
from analysis.statistics.criteria import NULL
from dynamics.results.places import Place

THRESHOLD = 0.3
PREFIX, LABELS = "prefix_matching", "label_attention"
SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "component": pl.String,
    **dict.fromkeys(("layer", "head"), pl.Int64),
    "mechanism": pl.String,
    "threshold": pl.Float64,
    "largest": pl.Float64,
    **dict.fromkeys(("mechanism_step", "mechanism_step_before"), pl.Int64),
    **dict.fromkeys(("component_step", "component_low", "component_high"), pl.Float64),
    "doublings": pl.Float64,
    "reason": pl.String,
    "last_step": pl.Int64,
}


def mechanism_before_component(results: Place) -> pl.DataFrame:
    """Every head's onset beside the first step of its mechanism.

    Returns:
        One row per (model, dtype, control, task, n_shots, component, mechanism), of heads: layer, head; threshold;
        largest (value of the measure at any step; null where it was not measured); mechanism_step (null: it never
        reaches the threshold), mechanism_step_before (the checkpoint before it); component_step with its interval
        component_low, component_high; doublings (log2 of component_step / mechanism_step, positive where the mechanism
        is first); reason (why that is null); last_step.

    Raises:
        StoreError: no finished unit has predictions of components at every step.
    """
    onsets = component_onsets(results).filter(criterion=NULL, kind="head")
    curves = _curves(results, onsets)
    rows = [row for onset in onsets.iter_rows(named=True) for row in _rows(onset, curves)]
    return pl.DataFrame(rows, schema=SCHEMA)


Curves = dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]]
"""(*group, component, mechanism) -> steps and values, ascending."""


def _curves(results: Place, onsets: pl.DataFrame) -> Curves:
    labels = valid_rows(results, "mechanisms").filter(measure=LABELS)
    of_prompts = labels.group_by(*GROUP, "step", "component", "measure").agg(pl.col("value").mean()).collect()
    of_checkpoint = read_checkpoint_measures(results).filter(measure=PREFIX).collect()
    tasks = onsets.select(*GROUP, "component").unique()
    of_tasks = tasks.join(of_checkpoint, on=["model", "dtype", "control", "component"])
    both = pl.concat(
        [frame.select(*GROUP, "component", "measure", "step", "value") for frame in (of_prompts, of_tasks)]
    )
    keys = [*GROUP, "component", "measure"]
    return {
        key: (frame["step"].to_numpy(), frame["value"].to_numpy())
        for key, frame in both.sort("step").partition_by(keys, as_dict=True).items()
    }


def _rows(onset: dict[str, object], curves: Curves) -> Iterator[dict[str, object]]:
    group = {name: onset[name] for name in GROUP}
    for mechanism in (PREFIX, LABELS):
        steps, values = curves.get((*group.values(), onset["component"], mechanism), (np.array([]), np.array([])))
        reached = np.flatnonzero(values >= THRESHOLD)
        first = int(reached[0]) if len(reached) else None
        step = None if first is None else int(steps[first])
        component_step = onset["t"]
        reason = _why(len(values), step, component_step, onset["censored"])
        yield {
            **group,
            **{name: onset[name] for name in ("component", "layer", "head", "last_step")},
            "mechanism": mechanism,
            "threshold": THRESHOLD,
            "largest": float(values.max()) if len(values) else None,
            "mechanism_step": step,
            "mechanism_step_before": int(steps[first - 1]) if first else None,
            "component_step": component_step,
            "component_low": onset["low"],
            "component_high": onset["high"],
            "doublings": None if reason else float(np.log2(float(str(component_step)) / float(str(step)))),
            "reason": reason,
        }


def _why(n_steps: int, step: int | None, component_step: object, censored: object) -> str | None:
    """Why there are no doublings between the two."""
    if not n_steps:
        return "the mechanism was not measured"
    if component_step is None:
        return f"no onset of the head: {censored}"
    if step is None:
        return "the mechanism never reaches the threshold"
    return "the mechanism is there at step 0" if step == 0 else None
