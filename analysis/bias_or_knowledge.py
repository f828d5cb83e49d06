"""Is it knowledge or label bias that components are ahead of the full model by? Differences of curves, raw and centred.

A curve is centred where each label's mean logit over the test rows is taken off before the answer, without a gold label
(`dynamics.label_bias`). So with `raw` and `centred` accuracies of Full and of a curve, such as T1,

    gap       = curve - Full                   what the raw curves show
    bias      = centred Full - Full            what Full gains by taking its label bias off: it had the knowledge
    remaining = centred curve - centred Full   what the curve has and Full lacks, both without their bias
    own_bias  = centred curve - curve          what the curve gains by taking its own bias off

and `gap = bias + remaining - own_bias`. All four are paired: same prompts, same test rows, same replicates.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.statistics.bootstrap import Bootstrap, replicate
from analysis.statistics.component_choice import B1, CALIB, FULL
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import Curve, GroupCurves
from analysis.statistics.onset import CONFIDENCE, TOLERANCE, interval

Columns = dict[str, np.ndarray]
"""Column -> (step,)."""
PARTS = ("gap", "bias", "remaining", "own_bias", "raw_remaining")
SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "curve": pl.String,
    "variant": pl.String,
    "n_labelled": pl.Int64,
    "template": pl.String,
    "selected_on": pl.String,
    "step": pl.Int64,
    "tokens_seen": pl.Int64,
    **dict.fromkeys(("full", "centred_full", "raw", "centred"), pl.Float64),
    **{f"{part}{end}": pl.Float64 for part in PARTS for end in ("", "_low", "_high", "_band_low", "_band_high")},
    "resampled": pl.String,
    "n_prompts": pl.Int64,
    "n_seeds": pl.Int64,
    "n_examples": pl.Int64,
    "chance": pl.Float64,
}


def rows(curves: GroupCurves) -> Iterator[Row]:
    """The differences at every step, for every curve but B1; of Calib+, which has no logits to centre, the raw ones.

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, variant, n_labelled, template, step), `template` empty
        for the means over all prompts: accuracies full, centred_full, raw and centred (of the curve), means over
        prompts; gap, bias, remaining, own_bias as above, and raw_remaining, the raw curve less centred Full; each with
        its 95 % bootstrap interval (_low, _high) and the band that holds over all steps at once with 95 % (_band_low,
        _band_high: the interval of the largest change at any step, in SDs to which all steps contribute half; of one
        template for that template alone), null where a curve's intervals are not known to cover; selected_on,
        tokens_seen, resampled, n_prompts, n_seeds, n_examples, chance. No rows where the results lack centred answers:
        `jobs.derive` adds them.
    """
    by_form = {(curve.name, curve.variant, curve.n_labelled, curve.centred): curve for curve in curves.curves}
    full, centred_full = (by_form.get((FULL, "", 0, centred)) for centred in (False, True))
    if full is None or centred_full is None:
        return
    for template, prompts in curves.templates.items():
        fulls = full.of_prompts(prompts).bootstrap, centred_full.of_prompts(prompts).bootstrap
        bias = _difference("bias", fulls[1], fulls[0])
        for (name, variant, n_labelled, is_centred), curve in by_form.items():
            centred = by_form.get((name, variant, n_labelled, True))
            if is_centred or name in (FULL, B1) or (centred is None and name != CALIB):
                continue
            of_template, own = curve.of_prompts(prompts), None if centred is None else centred.of_prompts(prompts)
            centred_means = None if own is None or np.isnan(own.values).all() else own.bootstrap
            if not np.isnan(of_template.values).all():
                shared = {"template": template, **curves.common.group.keys}
                yield from (shared | row for row in _rows(curves, fulls, of_template, centred_means, bias))


ORDER = [*GROUP, "curve", "variant", "n_labelled", "template", "step"]
BIAS_OR_KNOWLEDGE = CurveTable(rows, SCHEMA, ORDER)


def _rows(
    curves: GroupCurves, fulls: tuple[Bootstrap, Bootstrap], curve: Curve, centred: Bootstrap | None, bias: Columns
) -> Iterator[Row]:
    """The rows of one curve, all of these curves being of the same prompts.

    Args:
        fulls: Full, raw and centred.
        curve, centred: the curve as it is, and its mean where it is centred.
        bias: columns of the difference of `fulls`, the same for all curves.
    """
    (full, centred_full), raw = fulls, curve.bootstrap
    pairs = {"gap": (raw, full), "raw_remaining": (raw, centred_full)}
    if centred is not None:
        pairs |= {"remaining": (centred, centred_full), "own_bias": (centred, raw)}
    columns = dict(bias)
    for part, (more, less) in pairs.items():
        columns |= _difference(part, more, less, has_interval=curve.has_interval)
    for i, step in enumerate(curves.common.steps):
        yield {
            "curve": curve.name,
            "variant": curve.variant,
            "n_labelled": curve.n_labelled,
            "selected_on": curve.selected_on,
            "step": step,
            "tokens_seen": curves.tokens_seen[i],
            "full": full.mean[i],
            "centred_full": centred_full.mean[i],
            "raw": raw.mean[i],
            "centred": None if centred is None else centred.mean[i],
            **{name: values[i] for name, values in columns.items()},
            "resampled": curves.design.resampled,
            "n_prompts": int((~np.isnan(curve.values[i])).sum()),
            "n_seeds": len(np.unique(curve.seed_of)),
            "n_examples": len(curves.common.example_id),
            "chance": curves.design.chance,
        }


def _difference(part: str, more: Bootstrap, less: Bootstrap, *, has_interval: bool = True) -> Columns:
    """Columns (step,) of the paired difference of two curves."""
    difference = more.mean - less.mean
    if not has_interval:
        return {part: difference}
    replicates = replicate(np.subtract, more, less)
    low, high = interval(replicates)
    half_width = _simultaneous(replicates)
    return {
        part: difference,
        f"{part}_low": low,
        f"{part}_high": high,
        f"{part}_band_low": difference - half_width,
        f"{part}_band_high": difference + half_width,
    }


def _simultaneous(replicates: np.ndarray) -> np.ndarray:
    """Half width (step,) of a band that holds at all steps at once: SDs times a quantile of their largest multiple.

    The SD of a step is the root of its own variance and the mean one over steps, half each. An SD from a few seeds is
    often far too small by chance, and of many steps the one where it is smallest decides whether the band holds.
    """
    changes = replicates - replicates.mean(-1, keepdims=True)
    variance = changes.var(-1)
    sd = np.sqrt((variance + variance.mean()) / 2)
    multiples = np.abs(changes) / np.where(sd > TOLERANCE, sd, np.inf)[:, None]
    return sd * np.quantile(multiples.max(0), CONFIDENCE)
