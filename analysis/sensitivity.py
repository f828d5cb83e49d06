"""How much of the spread between prompts is the wording, how much the demonstrations? Over training, model and parts.

`analysis.statistics.variance` describes how the variance is split. Templates count as drawn from the wordings one might
have written, demonstration sets from the pool. Unbiased estimates of small variances are often negative: `estimate`
keeps the sign, `variance` is 0 there, and `share` is of the sum of the four `variance`. T1's components are chosen on
the very rows it is scored on; its `test_rows` ignores that and takes them as given.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.cache.step_tables import rows_of_all_steps
from analysis.reading.answers import StepAnswers, split_prompt
from analysis.reading.credit import credit_at_gold
from analysis.reading.groups import GROUP_SCHEMA, constant_columns
from analysis.statistics.component_choice import most_accurate
from analysis.statistics.confusion import accuracy, confusion
from analysis.statistics.top_components import TOP
from analysis.statistics.variance import SOURCES, VarianceSplit, split_variance
from dynamics.results.places import Place

SUBJECTS = ("Full", "T1", f"top-{TOP}", "components")
_BLOCK = 64
"""Components whose test rows are in memory at once."""
_SIZES = dict.fromkeys(("n_prompts", "n_templates", "n_demo_seeds", "n_examples"), pl.Int64)
_KEYS = {**GROUP_SCHEMA, "step": pl.Int64}
_SCHEMA = {
    **_KEYS,
    "subject": pl.String,
    "source": pl.String,
    **dict.fromkeys(("accuracy", "estimate", "variance", "share"), pl.Float64),
    "truncated": pl.Boolean,
    **_SIZES,
    "n_components": pl.Int64,
}


def sensitivity(results: Place) -> pl.DataFrame:
    """Variance of accuracy by source at every step, for the model, its best components and the average component.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, subject, source): subject is Full, T1 (each prompt's
        best component), top-5 (mean over the five best on average over prompts) or components (mean over all heads and
        MLPs); source is template, demonstrations, rest or test_rows. accuracy (mean), estimate, variance, share,
        truncated (whether the estimate is negative), n_prompts, n_templates, n_demo_seeds, n_examples, n_components.
        With one template or one demonstration set, or none of them shared, `rest` holds what cannot be separated and
        the other two are null; all are null for a single prompt.
    """
    return rows_of_all_steps(results, step_sources)


def component_sensitivity(results: Place) -> pl.DataFrame:
    """The same for every head and MLP.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component): accuracy (mean over prompts), and template,
        demonstrations, rest and test_rows: estimates of the variances, not truncated. n_prompts, n_templates,
        n_demo_seeds, n_examples.
    """
    return rows_of_all_steps(results, step_components)


def _prompts(answers: StepAnswers) -> list[tuple[str, int]]:
    return [split_prompt(name) for name in answers.prompts]


def _hits(answers: StepAnswers, components: slice | np.ndarray) -> np.ndarray:
    """Credit at the gold label of some components: (prompt, example, component), ties 1/n_tied."""
    tied = None if answers.tied is None else answers.tied[..., components]
    return credit_at_gold(answers.labels[..., components], tied, answers.gold[:, None])


def _split_components(answers: StepAnswers) -> VarianceSplit:
    """Every component as a subject, a block of them at a time."""
    prompts = _prompts(answers)
    blocks = [
        split_variance(prompts, _hits(answers, slice(first, first + _BLOCK)), answers.gold)
        for first in range(0, len(answers.components), _BLOCK)
    ]
    estimates: dict[str, np.ndarray | None] = dict.fromkeys(SOURCES)
    for source in SOURCES:
        parts = [estimate for block in blocks if (estimate := block.estimates[source]) is not None]
        estimates[source] = np.concatenate(parts) if parts else None
    return VarianceSplit(np.concatenate([block.accuracy for block in blocks]), estimates)


def _split_best(answers: StepAnswers, components: VarianceSplit) -> VarianceSplit:
    """Full, T1 and top-5 as subjects."""
    winner = most_accurate(accuracy(confusion(answers)), answers.gaps)
    full = credit_at_gold(answers.full_labels, answers.full_tied, answers.gold)
    best = np.stack([_hits(answers, np.array([j]))[p, :, 0] for p, j in enumerate(winner)])
    gaps = np.zeros(len(answers.components)) if answers.gaps is None else answers.gaps.mean(0)
    top = np.lexsort((-gaps, -np.round(components.accuracy, 9)))[:TOP]
    top_mean = _hits(answers, np.sort(top)).mean(2)
    return split_variance(_prompts(answers), np.stack([full, best, top_mean], 2), answers.gold)


def step_sources(answers: StepAnswers) -> pl.DataFrame:
    """One step's rows of `sensitivity`."""
    return pl.DataFrame(list(_rows(answers)), schema=_SCHEMA)


def _rows(answers: StepAnswers) -> Iterator[dict[str, object]]:
    components = _split_components(answers)
    best = _split_best(answers, components)
    for i, subject in enumerate(SUBJECTS):
        split, members = (components, slice(None)) if subject == "components" else (best, slice(i, i + 1))
        estimates = {name: None if v is None else float(v[members].mean()) for name, v in split.estimates.items()}
        total = sum(max(estimate, 0) for estimate in estimates.values() if estimate is not None)
        for source, estimate in estimates.items():
            variance = None if estimate is None else max(estimate, 0.0)
            yield {
                **answers.group.keys,
                "step": answers.step,
                "subject": subject,
                "source": source,
                "accuracy": float(split.accuracy[members].mean()),
                "estimate": estimate,
                "variance": variance,
                "share": variance / total if variance is not None and total > 0 else None,
                "truncated": None if estimate is None else estimate < 0,
                **_sizes(answers),
                "n_components": len(answers.components),
            }


def step_components(answers: StepAnswers) -> pl.DataFrame:
    """One step's rows of `component_sensitivity`."""
    split = _split_components(answers)
    keys = {**answers.group.keys, "step": answers.step, **_sizes(answers)}
    values = {"accuracy": split.accuracy, **split.estimates}
    columns = {name: [None] * len(answers.components) if value is None else value for name, value in values.items()}
    overrides = dict.fromkeys(values, pl.Float64)
    table = pl.DataFrame({"component": answers.components, **columns}, schema_overrides=overrides)
    return table.with_columns(constant_columns(keys)).select(*_KEYS, "component", *values, *_SIZES)


def _sizes(answers: StepAnswers) -> dict[str, int]:
    templates, seeds = zip(*_prompts(answers), strict=True)
    return {
        "n_prompts": len(answers.prompts),
        "n_templates": len(set(templates)),
        "n_demo_seeds": len(set(seeds)),
        "n_examples": len(answers.gold),
    }
