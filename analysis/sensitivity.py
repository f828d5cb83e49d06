"""How much of the spread between prompts is the wording, how much the demonstrations? Over training, model and parts.

`analysis.statistics.variance` says how the variance is split. Templates count as drawn from the wordings one might have
written, demonstration sets from the pool. Unbiased estimates of small variances are often negative: `estimate` keeps
the sign, `variance` is 0 there, and `share` is of the sum of the four `variance`. T1's components are chosen on the
very rows it is scored on, which its `test_rows`, taken as if they had been given, does not see.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.consistency import TOP
from analysis.reading.answers import GROUP, StepAnswers, all_answers
from analysis.statistics.confusion import accuracy, confusion
from analysis.statistics.variance import SOURCES, Split, split_variance
from dynamics.results.places import Place

SUBJECTS = ("Full", "T1", f"top-{TOP}", "components")
_BLOCK = 64
"""Components whose test rows are held at once."""
_SIZES = dict.fromkeys(("n_prompts", "n_templates", "n_demo_seeds", "n_examples"), pl.Int64)
_KEYS = {**dict.fromkeys(GROUP, pl.String), "n_shots": pl.Int64, "step": pl.Int64}
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
        With one template or one demonstration set, or none of them shared, `rest` holds what cannot be told apart and
        the other two are null; all are null for a single prompt.
    """
    return pl.DataFrame([row for at in all_answers(results) for row in _rows(at)], schema=_SCHEMA)


def component_sensitivity(results: Place) -> pl.DataFrame:
    """The same for every head and MLP.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component): accuracy (mean over prompts), and template,
        demonstrations, rest and test_rows: estimates of the variances, not truncated. n_prompts, n_templates,
        n_demo_seeds, n_examples.
    """
    return pl.concat([_by_component(at) for at in all_answers(results)])


def _prompts(at: StepAnswers) -> list[tuple[str, int]]:
    named = (prompt.rsplit("/", 1) for prompt in at.prompts)
    return [(template, int(seed)) for template, seed in named]


def _hits(at: StepAnswers, components: slice | np.ndarray) -> np.ndarray:
    """What some components' answers earn: (prompt, example, component), ties 1/n_tied."""
    tied = None if at.tied is None else at.tied[..., components]
    return _earned(at.labels[..., components], tied, at.gold[:, None])


def _earned(labels: np.ndarray, tied: np.ndarray | None, gold: np.ndarray) -> np.ndarray:
    alone = labels == gold
    if tied is None:
        return alone.astype(float)
    among = (tied >> gold.astype(np.uint32)) & 1
    return np.where(tied > 0, among / np.maximum(np.bitwise_count(tied), 1), alone)


def _component_blocks(at: StepAnswers) -> Iterator[Split]:
    prompts = _prompts(at)
    for first in range(0, len(at.components), _BLOCK):
        yield split_variance(prompts, _hits(at, slice(first, first + _BLOCK)), at.gold)


def _components(at: StepAnswers) -> Split:
    blocks = list(_component_blocks(at))
    estimates: dict[str, np.ndarray | None] = dict.fromkeys(SOURCES)
    for source in SOURCES:
        found = [one for block in blocks if (one := block.estimates[source]) is not None]
        estimates[source] = np.concatenate(found) if found else None
    return Split(np.concatenate([block.accuracy for block in blocks]), estimates)


def _best(at: StepAnswers, components: Split) -> Split:
    """Full, T1 and top-5 as subjects."""
    winner = accuracy(confusion(at)).argmax(1)
    full = _earned(at.full_labels, at.full_tied, at.gold)
    best = np.stack([_hits(at, np.array([j]))[p, :, 0] for p, j in enumerate(winner)])
    top = np.argsort(-np.round(components.accuracy, 9), kind="stable")[:TOP]
    mean = _hits(at, np.sort(top)).mean(2)
    return split_variance(_prompts(at), np.stack([full, best, mean], 2), at.gold)


def _rows(at: StepAnswers) -> Iterator[dict[str, object]]:
    components = _components(at)
    best = _best(at, components)
    for i, subject in enumerate(SUBJECTS):
        of = components if subject == "components" else best
        pick = slice(None) if subject == "components" else slice(i, i + 1)
        found = {name: None if v is None else float(v[pick].mean()) for name, v in of.estimates.items()}
        whole = sum(max(value, 0) for value in found.values() if value is not None)
        for source, estimate in found.items():
            variance = None if estimate is None else max(estimate, 0.0)
            yield {
                **dict(zip(GROUP, at.group, strict=True)),
                "step": at.step,
                "subject": subject,
                "source": source,
                "accuracy": float(of.accuracy[pick].mean()),
                "estimate": estimate,
                "variance": variance,
                "share": variance / whole if variance is not None and whole > 0 else None,
                "truncated": None if estimate is None else estimate < 0,
                **_sizes(at),
                "n_components": len(at.components),
            }


def _by_component(at: StepAnswers) -> pl.DataFrame:
    """One step's rows of `component_sensitivity`."""
    found = _components(at)
    keys = {**dict(zip(GROUP, at.group, strict=True)), "step": at.step, **_sizes(at)}
    values = {"accuracy": found.accuracy, **found.estimates}
    columns = {name: [None] * len(at.components) if value is None else value for name, value in values.items()}
    table = pl.DataFrame({"component": at.components, **columns}, schema_overrides=dict.fromkeys(values, pl.Float64))
    fixed = [pl.lit(value, {**_KEYS, **_SIZES}[name]).alias(name) for name, value in keys.items()]
    return table.with_columns(fixed).select(*_KEYS, "component", *values, *_SIZES)


def _sizes(at: StepAnswers) -> dict[str, int]:
    prompts = _prompts(at)
    return {
        "n_prompts": len(prompts),
        "n_templates": len({template for template, _ in prompts}),
        "n_demo_seeds": len({seed for _, seed in prompts}),
        "n_examples": len(at.gold),
    }
