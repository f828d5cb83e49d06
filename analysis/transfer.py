"""Does the best component of one task solve another? (Paper, Table 3.)

- `matched = "prompt"`: Transfer-1 as in the paper, for out-of-distribution tasks that take another task's
  demonstrations (`analysis.reading.pairs.TRANSFERS`): of each prompt (template and seed), the component best on the
  source's test rows, scored on the target's test rows with the same prompt. Oracle-1 is the best on the target's rows
  itself.
- `matched = "task"`: every ordered pair of tasks of one model with equally many labels and shots: the component with
  the best mean over the source's prompts, its mean over the target's; the diagonal is the best on the task itself.
"""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import polars as pl

from analysis.reading.accuracies import Prompt, StepAccuracies, accuracies, full_accuracy, mean_sd, n_labels
from analysis.reading.answers import GROUP, groups
from analysis.reading.pairs import TRANSFERS
from dynamics.results.places import Place

SETTING = [name for name in GROUP if name != "task"]
_SCHEMA = {
    **dict.fromkeys(SETTING, pl.String),
    "n_shots": pl.Int64,
    "step": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "matched": pl.String,
    **dict.fromkeys(("transfer_1", "transfer_1_sd", "oracle_1", "oracle_1_sd", "full", "full_sd", "same"), pl.Float64),
    "component": pl.String,
    "n_prompts": pl.Int64,
    "chance": pl.Float64,
}


def transfer(results: Place) -> pl.DataFrame:
    """Accuracy on a target task of the component chosen on a source task, of the target's own best, and of the model.

    Returns:
        One row per (model, dtype, control, n_shots, step, source, target, matched): transfer_1, oracle_1 and full
        (means over the target's prompts, with _sd), same (share of prompts on which the source's best is the target's
        best), component (the one chosen; null where prompts choose their own), n_prompts, chance.
    """
    labels = {(model, task): n for model, task, n in n_labels(results).iter_rows()}
    by_setting: dict[tuple, list[tuple]] = {}
    for group in groups(results):
        keys = dict(zip(GROUP, group, strict=True))
        setting = tuple(keys[name] for name in SETTING)
        by_setting.setdefault((*setting, labels[keys["model"], keys["task"]]), []).append(group)
    rows = [row for (*_, k), mine in sorted(by_setting.items()) for row in _setting(results, mine, k)]
    return pl.DataFrame(rows, schema=_SCHEMA).sort(*SETTING, "matched", "source", "target", "step")


def matched_prompts(source: StepAccuracies, target: StepAccuracies) -> list[tuple[int, int]]:
    """Prompts with the same template and seed, as indices into both."""
    place = {prompt: i for i, prompt in enumerate(source.prompts)}
    return [(place[prompt], i) for i, prompt in enumerate(target.prompts) if prompt in place]


def _setting(results: Place, mine: list[tuple], n_labels: int) -> Iterator[dict[str, object]]:
    """All pairs among groups that differ in their task only."""
    task = GROUP.index("task")
    steps = {group[task]: {at.step: at for at in accuracies(results, group)} for group in mine}
    full = {group[task]: full_accuracy(results, group) for group in mine}
    for source, target in product(steps, steps):
        for step in sorted(set(steps[source]) & set(steps[target])):
            at, onto = steps[source][step], steps[target][step]
            found = [_by_task(at, onto, full[target])]
            if TRANSFERS.get(target) == source:
                found.append(_by_prompt(at, onto, full[target]))
            keys = {name: value for name, value in zip(GROUP, at.group, strict=True) if name in SETTING}
            for row in found:
                if row:
                    yield {**keys, "step": step, "source": source, "target": target, **row, "chance": 1 / n_labels}


def _by_prompt(
    source: StepAccuracies, target: StepAccuracies, full: Mapping[tuple[int, Prompt], float]
) -> dict[str, object]:
    """Chosen prompt by prompt; empty without a prompt that both tasks have."""
    pairs = matched_prompts(source, target)
    if not pairs:
        return {}
    i, j = np.array(pairs).T
    winner, own = source.accuracy[i].argmax(1), target.accuracy[j]
    whole = [full.get((target.step, target.prompts[n]), np.nan) for n in j]
    chosen = own[np.arange(len(j)), winner]
    same = chosen >= own.max(1) - 1e-9
    return {"matched": "prompt", **_summary(chosen, own.max(1), whole), "same": float(same.mean()), "component": None}


def _by_task(
    source: StepAccuracies, target: StepAccuracies, full: Mapping[tuple[int, Prompt], float]
) -> dict[str, object]:
    """Chosen on the mean over the source's prompts."""
    winner, best = int(source.accuracy.mean(0).argmax()), int(target.accuracy.mean(0).argmax())
    whole = [full.get((target.step, prompt), np.nan) for prompt in target.prompts]
    summary = _summary(target.accuracy[:, winner], target.accuracy[:, best], whole)
    return {"matched": "task", **summary, "same": float(winner == best), "component": source.components[winner]}


def _summary(chosen: np.ndarray, best: np.ndarray, whole: list[float]) -> dict[str, object]:
    row: dict[str, object] = {"n_prompts": len(chosen)}
    for name, values in (("transfer_1", chosen), ("oracle_1", best), ("full", whole)):
        row[name], row[f"{name}_sd"] = mean_sd(values)
    return row
