"""Peak memory of a process that runs the plain pass, or the decomposition; each in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Sequence

from dynamics.decomposition import decompose
from dynamics.forward.batching import batches
from dynamics.forward.memory import ModelShape, decomposition_bytes, peak_resident_bytes
from dynamics.prompts import PromptSet
from tests.benchmarks.timing import Row
from tests.benchmarks.workloads import SHAPES, TOKENS, model_of, neox_config, plain_pass, real_prompts, unshared

N_PROMPTS = 32


def peak_memory() -> Iterator[Row]:
    """Sizes that take seconds."""
    return _rows(("70m", "160m", "410m"))


def peak_memory_of_larger_models() -> Iterator[Row]:
    """Sizes that take minutes and up to 8 GB."""
    return _rows(("1b", "1.4b"))


def _rows(sizes: Sequence[str]) -> Iterator[Row]:
    for size in sizes:
        peak = {method: _peak(size, method) for method in ("open", "plain", "whole", "shared")}
        predicted = _predicted(size, real_prompts("sst2", N_PROMPTS))
        seen = ", ".join(f"{method} {value / 1e6:.0f}" for method, value in peak.items())
        for method in ("whole", "shared"):
            added = f"{method} adds {(peak[method] - peak['plain']) / 1e6:.0f}, formula {predicted / 1e6:.1f}"
            on = f"{size}, {N_PROMPTS} of sst2"
            yield Row(f"memory, {method} / plain", on, peak[method] / peak["plain"], 1.05, note=f"MB: {seen}; {added}")


def _predicted(size: str, prompts: PromptSet) -> int:
    """What the formula says the decomposition adds."""
    shape = ModelShape.of(neox_config(*SHAPES[size]).to_dict())
    groups = batches([len(ids) for ids in prompts.own_ids], len(prompts.shared_ids), TOKENS)
    return decomposition_bytes(
        shape, "float32", n_examples=N_PROMPTS, n_labels=len(prompts.label_ids), n_batch=max(map(len, groups))
    )


def _peak(size: str, method: str) -> int:
    """Peak resident bytes of a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", size, method]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one_process(size: str, method: str) -> int:
    """Open a model, do one thing once, and return the peak of this process in bytes."""
    prompts = real_prompts("sst2", N_PROMPTS)
    model = model_of(neox_config(*SHAPES[size]))
    if method == "plain":
        plain_pass(model, prompts)
    elif method != "open":
        decompose(model, prompts if method == "shared" else unshared(prompts), token_budget=TOKENS)
    return peak_resident_bytes()


if __name__ == "__main__":
    print(one_process(*sys.argv[1:]))
