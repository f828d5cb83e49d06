"""The paper's main tables: a row per method, a column per task, and the average; the paper's own averages beside it.

Accuracies in percent, means over prompts, of every model's last step, without controls. The paper's numbers
(arXiv 2406.13131, averages over its eight tasks for Llama-2-7B) are given beside the same method and number of labelled
examples where the model is `meta-llama/Llama-2-7b-hf`. It takes four demonstrations, three where a task has three
labels: `shots` counts the latter as four.
"""

import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.task_facts import n_labels
from analysis.reweighting_gain import LABEL_FREE_BASELINES
from dynamics.errors import StoreError
from dynamics.results.places import Place

PAPER_MODEL = "meta-llama/Llama-2-7b-hf"
PAPER_TASKS = ("sst2", "boolq", "qqp", "wic", "rte", "mnli", "agnews", "arc_easy")
PAPER_AVERAGES = {
    ("full", 0): 61.2,
    ("oracle_t1", 0): 66.6,
    ("oracle_b1", 0): 24.5,
    ("standard", 12): 62.8,
    ("standard", 24): 63.8,
    ("prompt_selection", 12): 59.7,
    ("prompt_selection", 24): 59.4,
    ("calib_plus", 12): 66.9,
    ("calib_plus", 24): 67.7,
    ("comp_rw", 12): 68.8,
    ("comp_rw", 24): 69.8,
}
"""(method, labelled examples) -> percent. The paper's COMP RW has no variants: its number is given beside each."""
PAPER_SHOTS = 4
METHODS = (
    *("full", *LABEL_FREE_BASELINES, "oracle_t1", "oracle_b1"),
    *("standard", "prompt_selection", "calib_plus", "comp_rw", "heldout_t1"),
)
"""In the order of rows; others, such as the same less their label bias, come after them."""
ROW = ["model", "dtype", "step", "method", "variant", "n_labelled", "shots"]


def paper_tables(results: Place) -> pl.DataFrame:
    """One row per (model, dtype, step, method, variant, n_labelled, shots).

    Returns:
        A column per task in the paper's order, others after them; average (over the paper's tasks in the results,
        or over all tasks where none of them is), n_tasks (that many), paper (the paper's average; null where there is
        none). Methods that are not in the results have no row.

    Raises:
        StoreError: the results hold controls only.
    """
    means = _means(results)
    tasks = [task for task in PAPER_TASKS if task in means["task"]]
    others = sorted(set(means["task"]) - set(tasks))
    wide = means.pivot("task", index=ROW, values="accuracy")
    averaged = tasks or others
    if not averaged:
        raise StoreError(f"{results} holds scores of controls only; sweep the models without a control too")
    paper = pl.struct("model", "method", "n_labelled", "shots").map_elements(_paper_average, pl.Float64)
    return (
        wide.with_columns(
            average=pl.mean_horizontal(averaged), n_tasks=pl.sum_horizontal(pl.col(averaged).is_not_null()), paper=paper
        )
        .sort("model", "dtype", "shots", pl.col("method").replace_strict(_ORDER, default=len(METHODS)), *ROW[3:6])
        .select(*ROW, *tasks, *others, "average", "n_tasks", "paper")
    )


_ORDER = {method: i for i, method in enumerate(METHODS)}


def _means(results: Place) -> pl.DataFrame:
    """Percent per row of the table and task, at every model's last step."""
    scores = (
        method_scores(results)
        .filter(pl.col("control") == "none", pl.col("accuracy").is_not_null())
        .group_by("model", "dtype", "step", "task", "n_shots", "method", "variant", "n_labelled")
        .agg(accuracy=100 * pl.col("accuracy").mean())
        .collect(engine="streaming")
    )
    last = scores.filter(pl.col("step") == pl.col("step").max().over("model", "dtype"))
    three_of_three = (pl.col("n_labels") == 3) & (pl.col("n_shots") == 3)
    shots = pl.when(three_of_three).then(PAPER_SHOTS).otherwise("n_shots")
    return last.join(n_labels(results), on=["model", "task"], how="left").with_columns(shots=shots)


def _paper_average(row: dict) -> float | None:
    """The paper's average for a row; a plain prompt of K demonstrations is its Standard."""
    if row["model"] != PAPER_MODEL:
        return None
    method, n_labelled = row["method"], row["n_labelled"]
    if method == "full" and row["shots"] != PAPER_SHOTS:
        method, n_labelled = "standard", row["shots"]
    elif method != "standard" and row["shots"] != PAPER_SHOTS:
        return None
    return PAPER_AVERAGES.get((method, n_labelled))
