"""Who reads the demonstrations? Accuracies with true, permuted and abstract labels in them, of components and Full.

Under `permuted_demonstrations` every label in the demonstrations is another one, under `abstract_labels` label words
have no meaning for the task (`dynamics.controls`). All accuracies are less the label bias (centred) and against the
true labels, means over prompts and over control seeds:

    follows = true - permuted     above 0: what the demonstrations say decides, task learning (Pan et al., arXiv
                                  2305.09731; Halawi et al., arXiv 2307.09476); near 0: the words' own meaning does
"""

import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.result_tables import valid_rows
from dynamics.controls import ABSTRACT_LABELS, NONE, PERMUTED_DEMONSTRATIONS
from dynamics.results.places import Place

KEYS = ["model", "dtype", "task", "n_shots", "step", "component"]
PROMPT = ["template", "demo_seed"]
FULL = "Full"
_COLUMNS = {NONE: "true", PERMUTED_DEMONSTRATIONS: "permuted", ABSTRACT_LABELS: "abstract"}


def demonstration_sensitivity(results: Place) -> pl.DataFrame:
    """Centred accuracy of every head and MLP, and of Full, with true, permuted and abstract labels in demonstrations.

    Returns:
        One row per (model, dtype, task, n_shots, step, component), `Full` among the components: true, permuted,
        abstract (centred accuracies; null where a control was not run), follows = true - permuted, paired by prompt,
        n_prompts (that have both), n_control_seeds. Empty where neither control was run.
    """
    of_components = valid_rows(results, "component_scores").filter(
        pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"])
    )
    of_full = method_scores(results).filter(method="centred_full").with_columns(component=pl.lit(FULL))
    columns = [*KEYS, *PROMPT, "control"]
    scores = pl.concat(
        [
            of_components.select(*columns, accuracy="centred_accuracy"),
            of_full.select(*columns, "accuracy"),
        ]
    ).with_columns(kind=pl.col("control").str.split("-").list.first())
    prompts = scores.group_by(*KEYS, *PROMPT, "kind").agg(
        pl.col("accuracy").mean(), n=pl.col("control").n_unique().cast(pl.Int64)
    )
    wide = prompts.collect(engine="streaming").filter(pl.col("kind").is_in(list(_COLUMNS)))
    tables = {kind: wide.filter(kind=kind).select(*KEYS, *PROMPT, "n", "accuracy") for kind in _COLUMNS}
    table = tables[NONE].rename({"accuracy": "true"}).drop("n")
    for kind in (PERMUTED_DEMONSTRATIONS, ABSTRACT_LABELS):
        other = tables[kind].rename({"accuracy": _COLUMNS[kind], "n": f"n_{_COLUMNS[kind]}"})
        table = table.join(other, on=[*KEYS, *PROMPT], how="left")
    run = table.filter(pl.any_horizontal(pl.col("permuted", "abstract").is_not_null()))
    return (
        run.group_by(KEYS)
        .agg(
            pl.col("true", "permuted", "abstract").mean(),
            follows=(pl.col("true") - pl.col("permuted")).mean(),
            n_prompts=pl.len().cast(pl.Int64),
            n_control_seeds=pl.max_horizontal("n_permuted", "n_abstract").max(),
        )
        .sort(KEYS)
    )
