"""Speed of reweighting against plain torch autograd loops."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dynamics.methods.reweighting import fit
from dynamics.methods.variants import VARIANTS
from tests.benchmarks.timing import Part, Row, in_turns

N_PROBLEMS, N_ROWS, N_COMPONENTS, N_LABELS, EPOCHS = 12, 24, 1056, 4, 300
PAPER = replace(VARIANTS["paper"].reweighting, max_epochs=EPOCHS)


def product_and_sum(parts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Logits as they are written down: `(weights * contributions).sum`."""
    return (parts * weights[:, None]).sum(1)


def contraction(parts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Logits by one contraction, the fastest autograd form known here."""
    return torch.einsum("ejy,j->ey", parts, weights)


def autograd_loop(contributions: np.ndarray, gold: np.ndarray, forward: Callable) -> None:
    parts, labels = torch.tensor(contributions), torch.tensor(gold)
    weights = torch.ones(parts.shape[1], requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=0.05)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(forward(parts, weights), labels, reduction="sum")
        (loss + 0.1 * weights.abs().sum()).backward()
        optimiser.step()


def reweighting_fits() -> Iterator[Row]:
    """The fits of one checkpoint against a plain autograd loop."""
    rng = np.random.default_rng(0)
    gold = np.arange(N_ROWS) % N_LABELS
    remainder = np.zeros((N_ROWS, N_LABELS), np.float32)
    problems = [rng.normal(0, 0.05, (N_ROWS, N_COMPONENTS, N_LABELS)).astype(np.float32) for _ in range(N_PROBLEMS)]
    methods: dict[str, Callable[[np.ndarray], object]] = {
        "autograd": lambda c: autograd_loop(c, gold, product_and_sum),
        "closed form": lambda c: fit(c, gold, PAPER),
        "default": lambda c: fit(c, gold, VARIANTS["default"].reweighting, remainder),
        "autograd contraction": lambda c: autograd_loop(c, gold, contraction),
    }
    problem_of_each_run = {method: [Part(partial(run, c), 1.0) for c in problems] for method, run in methods.items()}
    times = in_turns(problem_of_each_run, N_PROBLEMS, least=N_PROBLEMS // 2)
    on = f"{N_COMPONENTS} components x {N_LABELS} labels x {N_ROWS} rows, {EPOCHS} epochs"
    ratios = {method: times.ratio(method, "autograd") for method in methods}
    note = times.note("closed form", "autograd")
    yield Row("fits, closed form / autograd loop", on, ratios["closed form"], 0.25, note=note)
    by_contraction = times.ratio("closed form", "autograd contraction")
    yield Row("fits, closed form / autograd by one contraction", on, by_contraction)
    # it descends on all rows, and without each of them, all at once
    descents = (1 + N_ROWS) * VARIANTS["default"].reweighting.max_epochs / EPOCHS
    note = f"{1 + N_ROWS} descents in {ratios['default']:.2f} of the seconds of one loop"
    yield Row("fits, default / autograd loop, each update", on, ratios["default"] / descents, 0.25, note=note)
