"""Should COMP RW start from the full model less its label bias? On stored results.

`python -m tests.benchmarks.bench_centred_start RESULTS`

Accuracy of the variants of COMP RW, of `default` less the label bias of its own logits, and of `default` fitted to
contributions of which each label's mean was taken off before, so that weights of one are the centred full model. Means
are over the 24 rows that the K labelled ones are drawn from, their labels unused. On stored test rows at 8 shots: new
draws of the 24 for each prompt, all other rows are scored.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import polars as pl

import analysis
from dynamics.components import parse_component
from dynamics.methods.reweighting import fit
from dynamics.methods.variants import VARIANTS
from dynamics.scores import accuracy, credit

STEPS = (16, 64, 88, 128, 1024)
LABELLED = (8, 12, 20, 24)
N_DRAWS, N_SEEDS = 4, 3
"""12 draws for each template and K."""
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def prompts(results: str) -> Iterator[tuple[str, int, Rows]]:
    """Task, step, and the test rows of one prompt: contributions of heads and MLPs, remainder, gold."""
    table = analysis.load(results, "contributions").filter(
        pl.col("step").is_in(STEPS), pl.col("demo_seed") < N_SEEDS, n_shots=8, split="test"
    )
    keys = ["task", "step", "template", "demo_seed"]
    for (task, step, *_), rows in table.collect().partition_by(keys, as_dict=True, maintain_order=True).items():
        shape = len(rows), rows["n_components"][0], rows["n_labels"][0]
        parts = np.array(rows["contributions"].to_list()).reshape(shape)
        names = rows["components"][0].split()
        of_candidates = parts[:, [parse_component(name).is_candidate for name in names]]
        remainder = np.array(rows["full"].to_list()) - of_candidates.sum(1)
        yield str(task), int(step), (of_candidates, remainder, rows["gold"].to_numpy().astype(int))


def accuracies(rows: Rows, labelled: np.ndarray, unlabelled: np.ndarray, scored: np.ndarray) -> dict[str, float]:
    """Accuracy on the scored rows of every method."""
    contributions, remainder, gold = rows
    logits = {"full": contributions.sum(1) + remainder}
    for name in ("official_code", "default"):
        logits[name] = fit(contributions[labelled], gold[labelled], VARIANTS[name].reweighting, remainder[labelled])(
            contributions, remainder
        )
    for name in ("full", "default"):
        logits[f"{name}, then centred"] = logits[name] - logits[name][unlabelled].mean(0)
    centred, rest = (values - values[unlabelled].mean(0) for values in (contributions, remainder))
    fitted = fit(centred[labelled], gold[labelled], VARIANTS["default"].reweighting, rest[labelled])
    logits["default from centred"] = fitted(centred, rest)
    return {name: float(accuracy(credit(values[scored]), gold[scored])) for name, values in logits.items()}


def main(results: str) -> None:
    """Print mean accuracies per task, step and K."""
    found: dict[tuple[str, int, int], list[dict[str, float]]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for task, step, rows in prompts(results):
        for _ in range(N_DRAWS):
            order = rng.permutation(len(rows[2]))
            drawn, scored = order[: max(LABELLED)], order[max(LABELLED) :]
            for n_labelled in LABELLED:
                found[task, step, n_labelled].append(accuracies(rows, drawn[:n_labelled], drawn, scored))
    names = list(next(iter(found.values()))[0])
    print(" ".join(f"{name:>22}" for name in ("task, step, K", *names)))
    for (task, step, n_labelled), cells in sorted(found.items()):
        means = [np.mean([cell[name] for cell in cells]) for name in names]
        print(f"{f'{task}, {step}, {n_labelled}':>22} " + " ".join(f"{mean:22.3f}" for mean in means))


if __name__ == "__main__":
    main(sys.argv[1])
