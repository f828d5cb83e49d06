"""Do the labels unlock anything, or does fitting alone? COMP RW and Calib+ refitted with shuffled training labels.

Training labels are shuffled `N_SHUFFLES` times within each demonstration seed, the same shuffles for all its templates
and at all steps. Weights are fitted again, and true test labels score them (`dynamics.methods.refits`). The null of
`analysis.emergence` keeps the weights and permutes the test labels: it asks whether answers and labels are related at
all, which those of a full model that knows the task are. This one asks whether the K labels have added to that.

`band` holds for the whole curve: a fit whose labels say nothing is above it at any step with probability 1 %. It is
`m + k (q95 - m)` at each step, with m the mean and q95 the 95th percentile of the N refits there, and k the
floor(.01 (1 + N))-th largest of `max over steps (refit - m) / (q95 - m)`. In SDs, as the band of other curves, it would
be above 1: refits are far from normal, near the full model under some shuffles and at one label under others.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Group, groups
from analysis.reading.result_tables import valid_rows
from analysis.statistics.onset import upper_quantile
from dynamics.methods.fits import Fit
from dynamics.methods.refits import REFITTED, refit_accuracies
from dynamics.methods.variants import VARIANTS
from dynamics.results.contributions import unit_arrays
from dynamics.results.places import Place

N_SHUFFLES = 100
"""As many as a band at 1 % needs: a shuffle of a prompt costs half a millisecond (18 components, 2 labels, 16 rows)."""
LEVEL, UPPER, TOLERANCE = 0.01, 0.95, 1e-9
FIT = ["method", "variant", "n_labelled"]
_NULL = ("refit_null_mean", "refit_null_q95", "refit_null_q99", "band")
SCHEMA = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "method": pl.String,
    "variant": pl.String,
    "n_labelled": pl.Int64,
    "accuracy": pl.Float64,
    **dict.fromkeys(_NULL, pl.Float64),
    "above": pl.Boolean,
    "difference": pl.Float64,
    **dict.fromkeys(("n_shuffles", "n_prompts", "n_examples"), pl.Int64),
    "chance": pl.Float64,
}
Refits = dict[tuple[str, str, int], dict[int, dict[tuple[str, int], np.ndarray]]]
"""(method, variant, K) -> step -> (template, seed) -> (2 + shuffle,): as stored, refitted, refitted to shuffles."""


def refit_null(results: Place, n_shuffles: int = N_SHUFFLES) -> pl.DataFrame:
    """Accuracy of every fit beside what it reaches with shuffled training labels.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, method, variant, n_labelled), of the methods comp_rw,
        centred_comp_rw and calib_plus: accuracy (mean over prompts, as stored); refit_null_mean, refit_null_q95,
        refit_null_q99 of the mean over prompts with shuffled labels at this step; band, which holds for all steps at
        1 %; above (accuracy > band); difference, the largest between a stored accuracy and that of the same fit made
        again with the true labels; n_shuffles, n_prompts (those that every step has), n_examples, chance. Only built-in
        variants; empty where results hold no fits or no contributions.
    """
    rows = [row for group in groups(results) for row in _rows(results, group, n_shuffles)]
    return pl.DataFrame(rows, schema=SCHEMA).sort(*GROUP, *FIT, "step")


def _rows(results: Place, group: Group, n_shuffles: int) -> Iterator[dict[str, object]]:
    stored = _stored_scores(results, group)
    refits: Refits = defaultdict(lambda: defaultdict(dict))
    shapes: dict[str, float] = {}
    for unit_rows in _by_prompts(results, group, stored["step"].unique().sort().to_list()):
        units = unit_rows.select("unit_id").unique().join(stored, on="unit_id").select("unit_id", "n_shots_used")
        for unit in unit_arrays(unit_rows.filter(pl.col("unit_id").is_in(units["unit_id"].implode())), units.unique()):
            accuracies = _accuracies(stored.filter(unit_id=unit.keys["unit_id"]))
            shapes = {"n_examples": unit.split.count("test"), "chance": 1 / unit.contributions.shape[2]}
            prompt = (str(unit.keys["template"]), int(str(unit.keys["demo_seed"])))
            for fit in _fits(accuracies):
                for method, values in refit_accuracies(unit, fit, n_shuffles).items():
                    key = (method, fit.name, fit.n_labelled)
                    if key in accuracies:
                        with_stored = np.concatenate([[accuracies[key]], values])
                        refits[key][int(str(unit.keys["step"]))][prompt] = with_stored
    for (method, variant, n_labelled), by_step in sorted(refits.items()):
        keys = {**group.keys, "method": method, "variant": variant, "n_labelled": n_labelled}
        yield from ({**keys, **row, **shapes} for row in beside_null(by_step, n_shuffles))


def beside_null(
    by_step: Mapping[int, Mapping[tuple[str, int], np.ndarray]], n_shuffles: int
) -> Iterator[dict[str, object]]:
    """One fit's rows, over the prompts that every step has.

    Args:
        by_step: step -> (template, seed) -> (2 + shuffle,) accuracies: as stored, refitted, refitted to shuffles.
    """
    steps = sorted(by_step)
    prompts = sorted(set.intersection(*(set(by_step[step]) for step in steps)))
    if not prompts:
        return
    values = np.stack([[by_step[step][prompt] for prompt in prompts] for step in steps])
    accuracy, null = values[..., 0].mean(1), values[..., 2:].mean(1)
    whole_curve = upper_band(null)
    for i, step in enumerate(steps):
        yield {
            "step": step,
            "accuracy": accuracy[i],
            "refit_null_mean": null[i].mean(),
            "refit_null_q95": np.quantile(null[i], UPPER),
            "refit_null_q99": np.quantile(null[i], 0.99),
            "band": whole_curve[i],
            "above": bool(accuracy[i] > whole_curve[i]),
            "difference": np.abs(values[i, :, 0] - values[i, :, 1]).max(),
            "n_shuffles": n_shuffles,
            "n_prompts": len(prompts),
        }


def upper_band(null: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """The level that refits exceed at any step with probability `level`, at most 1: (step, shuffle) -> (step,)."""
    mean, upper = null.mean(-1, keepdims=True), np.quantile(null, UPPER, axis=-1, keepdims=True)
    spread = upper - mean
    varies = spread > TOLERANCE
    scaled = np.where(varies, (null - mean) / np.where(varies, spread, 1), 0)
    return np.minimum((mean + spread * upper_quantile(scaled.max(0), level))[:, 0], 1)


def _stored_scores(results: Place, group: Group) -> pl.DataFrame:
    """The group's scores that are fitted again."""
    scores = method_scores(results).filter(
        group.matches, pl.col("method").is_in(REFITTED), pl.col("accuracy").is_not_null()
    )
    return scores.select("unit_id", "step", *FIT, "fit_id", "accuracy", "n_shots_used").collect(engine="streaming")


def _by_prompts(results: Place, group: Group, steps: Sequence[int]) -> Iterator[pl.DataFrame]:
    """The rows of `contributions`, those of one step and template at a time, in the order they are stored in."""
    rows = valid_rows(results, "contributions").filter(group.matches)
    for step in steps:
        of_step = rows.filter(pl.col("step") == step)
        for template in of_step.select(pl.col("template").unique().sort()).collect()["template"]:
            yield of_step.filter(pl.col("template") == template).collect()


def _accuracies(stored: pl.DataFrame) -> dict[tuple[str, str, int], float]:
    """(method, variant, K) -> accuracy, of the fits of one unit whose settings are those of a built-in variant."""
    known = stored.filter(
        pl.struct("variant", "n_labelled", "fit_id").map_elements(_is_built_in, return_dtype=pl.Boolean)
    )
    return {tuple(row[:3]): row[3] for row in known.select(*FIT, "accuracy").iter_rows()}


def _is_built_in(row: Mapping[str, object]) -> bool:
    name = str(row["variant"])
    return name in VARIANTS and _fit(name, int(str(row["n_labelled"]))).fit_id == row["fit_id"]


def _fits(accuracies: Mapping[tuple[str, str, int], float]) -> list[Fit]:
    return [_fit(*key) for key in sorted({(variant, k) for _, variant, k in accuracies})]


def _fit(name: str, n_labelled: int) -> Fit:
    return Fit(name, name, VARIANTS[name].reweighting, n_labelled)
