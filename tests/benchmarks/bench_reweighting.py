"""Speed of reweighting against plain torch autograd loops, interleaved in one run; prints JSON.

`OPENBLAS_NUM_THREADS=1 python -m pytest tests/benchmarks/bench_reweighting.py -m benchmark -s`
"""

import json
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
import torch

from dynamics.reweighting import VARIANTS, fit

N_PROBLEMS, N_ROWS, N_COMPONENTS, N_LABELS, EPOCHS = 30, 24, 1056, 4, 300
PAPER = replace(VARIANTS["paper"], max_epochs=EPOCHS)


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


@pytest.mark.benchmark
def test_reweighting_speed() -> None:
    rng = np.random.default_rng(0)
    gold = np.arange(N_ROWS) % N_LABELS
    remainder = np.zeros((N_ROWS, N_LABELS), np.float32)
    ways = {
        "closed_form": lambda c: fit(c, gold, PAPER),
        "default": lambda c: fit(c, gold, VARIANTS["default"], remainder),
        "autograd": lambda c: autograd_loop(c, gold, product_and_sum),
        "autograd_contraction": lambda c: autograd_loop(c, gold, contraction),
    }
    seconds = dict.fromkeys(ways, 0.0)
    for problem in range(-1, N_PROBLEMS):
        contributions = rng.normal(0, 0.05, (N_ROWS, N_COMPONENTS, N_LABELS)).astype(np.float32)
        for way, run in ways.items():
            start = perf_counter()
            run(contributions)
            seconds[way] += (problem >= 0) * (perf_counter() - start)
    ratios = {f"{way}_over_autograd": round(seconds[way] / seconds["autograd"], 4) for way in ways if way != "autograd"}
    to_contraction = round(seconds["closed_form"] / seconds["autograd_contraction"], 4)
    report = {"seconds": {way: round(s, 3) for way, s in seconds.items()}, **ratios}
    print(json.dumps({**report, "closed_form_over_autograd_contraction": to_contraction}))
