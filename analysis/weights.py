"""What does COMP RW use, and since when? Its weights over training: how many matter, how similar to the final ones.

For each prompt, variant and number of labelled examples, with w the weights at a step and v those of the same prompt
at the last step:

- `zero` and `negative`: share of components with |w| <= `NEAR` (the L1 penalty pulls weights to 0, where steps of
  fixed size leave them within 2 * lr * lambda = .01 of it), and with w < -`NEAR`;
- `n_effective = (sum |w|)^2 / sum w^2`: n for equal weights, 1 for a single non-zero one;
- `cosine = w . v / (|w| |v|)`, and `change_cosine`, the same of w - 1 and v - 1: all weights start at 1, the full
  model, so that w . v is large even where two fits have changed nothing in common;
- `on_heads`: share of sum |w| that lies on attention heads.
"""

import polars as pl

from analysis.reading.groups import GROUP
from analysis.reading.result_tables import split_by_step, valid_rows
from dynamics.results.places import Place

NEAR = 0.01
FIT = ["variant", "n_labelled"]
PROMPT = ["template", "demo_seed"]
_VALUES = ("zero", "negative", "n_effective", "on_heads", "cosine", "change_cosine", "train_loss", "epochs")


def weights(results: Place) -> pl.DataFrame:
    """Sparsity of the weights and their similarity to the final ones at every step, mean and SD over prompts.

    Returns:
        One row per (model, dtype, control, task, n_shots, variant, n_labelled, step): final_step; zero, negative,
        n_effective, on_heads, cosine, change_cosine (null where a vector is zero), train_loss (nats) and epochs, each
        with its _sd; n_prompts (those that every step has), n_components. Empty without fits.
    """
    rows = valid_rows(results, "reweightings")
    curve = [*GROUP, *FIT]
    last = rows.group_by(curve).agg(final_step=pl.col("step").max())
    final = rows.join(last, left_on=[*curve, "step"], right_on=[*curve, "final_step"], how="semi")
    final = final.select(*curve, *PROMPT, "component", final_step="step", final="weight").collect(engine="streaming")
    in_order = [*GROUP, *FIT, *PROMPT, "component"]  # sums whose last digits differ would show in cosines near 1
    parts = [
        _by_prompt(of_step.collect(engine="streaming").sort(in_order), final) for _, of_step in split_by_step(rows)
    ]
    parts = parts or [_by_prompt(rows.collect(), final)]
    measured = pl.concat(parts).sort(*in_order[:-1], "step")
    n_steps = pl.col("step").n_unique().over(curve)
    everywhere = measured.filter(pl.col("step").n_unique().over([*curve, *PROMPT]) == n_steps)
    means = [value for name in _VALUES for value in (pl.col(name).mean(), pl.col(name).std().alias(f"{name}_sd"))]
    sizes = [pl.len().cast(pl.Int64).alias("n_prompts"), pl.col("n_components").first()]
    averaged = everywhere.group_by(*curve, "step").agg(pl.col("final_step").first(), *means, *sizes)
    return averaged.sort(*curve, "step")


def _by_prompt(rows: pl.DataFrame, final: pl.DataFrame) -> pl.DataFrame:
    """The measures of every prompt's weights."""
    prompt = [*GROUP, *FIT, *PROMPT]
    return (
        rows.join(final, on=[*prompt, "component"], how="inner", maintain_order="left")
        .group_by(*prompt, "step", maintain_order=True)
        .agg(
            pl.col("final_step").first(),
            *_measures(),
            pl.col("train_loss", "epochs").first().cast(pl.Float64),
            n_components=pl.len().cast(pl.Int64),
        )
    )


def _measures() -> list[pl.Expr]:
    w, v = pl.col("weight"), pl.col("final")
    size = w.abs().sum()
    heads = pl.col("component").str.contains("H")
    return [
        (w.abs() <= NEAR).mean().alias("zero"),
        (w < -NEAR).mean().alias("negative"),
        _ratio(size**2, (w**2).sum()).alias("n_effective"),
        _ratio(w.abs().filter(heads).sum(), size).alias("on_heads"),
        _cosine(w, v).alias("cosine"),
        _cosine(w - 1, v - 1).alias("change_cosine"),
    ]


def _cosine(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    return _ratio((x * y).sum(), ((x**2).sum() * (y**2).sum()).sqrt())


def _ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Null where the denominator is 0."""
    return pl.when(denominator > 0).then(numerator / denominator)
