"""Peak memory of a process that runs the plain pass, or the decomposition; each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dynamics.decomposition import decompose
from dynamics.forward.batching import batches
from dynamics.forward.memory import ModelShape, decomposition_bytes, peak_resident_bytes
from dynamics.prompts import PromptSet
from tests.benchmarks.timing import Row
from tests.benchmarks.workloads import (
    SHAPES,
    TOKENS,
    model_of,
    n_padded,
    neox_config,
    plain_batches,
    plain_pass,
    real_prompts,
    unshared,
)

METHODS = ("plain", "whole", "shared")


def peak_memory() -> Iterator[Row]:
    """Sizes that take seconds."""
    return _rows(("70m", "160m", "410m"))


def peak_memory_of_larger_models() -> Iterator[Row]:
    """Sizes that take minutes and up to 8 GB."""
    return _rows(("1b", "1.4b"))


def _rows(sizes: Sequence[str]) -> Iterator[Row]:
    """The largest first, as many at a time as there are cores: seconds do not count here."""
    prompts = one_batch()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {size: [pool.submit(_peaks, size, method) for method in METHODS] for size in reversed(sizes)}
    for size in sizes:
        peak = {method: value for done in running[size] for method, value in done.result().items()}
        predicted = _predicted(size, prompts)
        seen = ", ".join(f"{method} {value / 1e6:.0f}" for method, value in peak.items())
        for method in ("whole", "shared"):
            added = f"{method} adds {(peak[method] - peak['plain']) / 1e6:.0f}, formula {predicted / 1e6:.1f}"
            on = f"{size}, {len(prompts.gold)} of sst2, a batch of {n_padded(prompts):,} tokens"
            yield Row(f"memory, {method} / plain", on, peak[method] / peak["plain"], 1.05, note=f"MB: {seen}; {added}")


def _predicted(size: str, prompts: PromptSet) -> int:
    """What the formula says the decomposition adds."""
    shape = ModelShape.of(neox_config(*SHAPES[size]).to_dict())
    groups = batches([len(ids) for ids in prompts.own_ids], len(prompts.shared_ids), TOKENS)
    return decomposition_bytes(
        shape, "float32", n_examples=len(prompts.gold), n_labels=len(prompts.label_ids), n_batch=max(map(len, groups))
    )


def one_batch() -> PromptSet:
    """As many prompts as the budget of tokens lets the plain pass read at once: further batches add nothing."""
    return max(plain_batches(real_prompts("sst2", 32)), key=n_padded)


def _peaks(size: str, method: str) -> dict[str, int]:
    """Peak resident bytes of a fresh process when its model is open, and at its end."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", size, method]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one_process(size: str, method: str) -> dict[str, int]:
    """Open a model, do one thing once; the peak of this process in bytes before it and after."""
    prompts = one_batch()
    model = model_of(neox_config(*SHAPES[size]))
    opened = peak_resident_bytes()
    if method == "plain":
        plain_pass(model, prompts)
    else:
        decompose(model, prompts if method == "shared" else unshared(prompts), token_budget=TOKENS)
    return {"open": opened, method: peak_resident_bytes()}


if __name__ == "__main__":
    print(json.dumps(one_process(*sys.argv[1:])))
