"""How much of a device decompositions use: operations a second over those of its matrix products, by shape and type.

`make bench only=rates` finds the device by itself: on a CUDA device float32, TF32 and bfloat16 with every shape whose
weights fit, on a CPU float32 with the smallest. Operations are those of `jobs.price_list.per_token`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel

from dynamics.decomposition import decompose
from dynamics.forward.batching import batches, budget_for, free_bytes
from dynamics.forward.memory import BYTES_OF, ModelShape, batch_bytes, decomposition_bytes
from dynamics.prompts import PromptSet
from jobs.open_checkpoint import resolve_device
from jobs.price_list import SHAPES, per_token
from tests.benchmarks.timing import Row
from tests.benchmarks.workloads import model_of, n_tokens, neox_config, plain_pass, real_prompts

HEADS = {"70m": 8, "160m": 12, "410m": 16, "1b": 8, "1.4b": 16, "2.8b": 32, "6.9b": 32, "12b": 40}
TASKS = {"sst2": 4, "rte": 4, "arc_easy": 4}
"""Tasks with real rows, the last with four labels as AG News, and demonstrations."""
ON_CPU, PROMPTS_ON_CPU, PROMPTS_ON_GPU = ("70m",), 32, 1000
RUNS = 3
SCAN = (2, 4)
"""The budget of tokens in a batch is compared with this many times more and less."""


def rates() -> Iterator[Row]:
    """For each type of numbers and shape: utilisation, the plain pass, batch sizes, launches, peak memory."""
    device = torch.device(resolve_device("auto"))
    on_gpu = device.type == "cuda"
    for precision in ("float32", "tf32", "bfloat16") if on_gpu else ("float32",):
        with _precision(precision):
            peak = _matrix_product(device, _dtype(precision))
            name = torch.cuda.get_device_name(device) if on_gpu else "CPU"
            yield Row("matrix product, 10^12 operations/s", f"{name}, {precision}", peak / 1e12)
            for size in SHAPES if on_gpu else ON_CPU:
                if 1.5 * _weight_bytes(size, precision) < free_bytes(device):
                    yield from _of_shape(size, precision, device, peak)


def _of_shape(size: str, precision: str, device: torch.device, peak: float) -> Iterator[Row]:
    n_blocks, width = SHAPES[size]
    model = model_of(neox_config(n_blocks, HEADS[size], width)).to(device, _dtype(precision))
    n_prompts = PROMPTS_ON_GPU if device.type == "cuda" else PROMPTS_ON_CPU
    for task, n_shots in TASKS.items():
        prompts, on = real_prompts(task, n_prompts, n_shots=n_shots), f"{size}, {precision}, {n_prompts} of {task}"
        ours = _seconds(partial(decompose, model, prompts))
        every, new = n_tokens(prompts)
        context = every / len(prompts.own_ids)
        share = new * per_token(n_blocks, width, context) / ours / peak
        yield Row("utilisation, decomposition", on, share, note=f"{new / ours:,.0f} new tokens/s")
        yield Row("decomposition / plain", on, ours / _seconds(partial(_plain, model, prompts)))
    yield from _of_batches(model, prompts, on, ours)
    yield Row("launches in a batch", on, _launches(model, prompts), note=f"{n_blocks} blocks")
    if device.type == "cuda":
        yield _memory(model, prompts, on)


def _plain(model: PreTrainedModel, prompts: PromptSet) -> torch.Tensor:
    return plain_pass(model, prompts).cpu()


def _of_batches(model: PreTrainedModel, prompts: PromptSet, on: str, auto: float) -> Iterator[Row]:
    """Seconds with the budget that fits itself over those with the best of others around it."""
    budget = budget_for(model, None)
    scan = {
        b: _seconds(partial(decompose, model, prompts, token_budget=b)) for f in SCAN for b in (budget // f, f * budget)
    }
    best = min(scan, key=lambda tokens: scan[tokens])
    note = f"auto {budget:,} tokens, best other {best:,}"
    yield Row("automatic batch / best of others", on, auto / scan[best], 1.10, note=note)


def _launches(model: PreTrainedModel, prompts: PromptSet) -> float:
    """Kernels that a decomposition launches on a CUDA device, or operators that it calls on a CPU, over its batches.

    The prompts that are run again count with them.
    """
    on_gpu = model.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        decompose(model, prompts)
    kernels = [e for e in recorded.events() or [] if (e.name.startswith("cudaLaunchKernel") if on_gpu else True)]
    lengths = [len(own) for own in prompts.own_ids]
    return len(kernels) / len(batches(lengths, len(prompts.shared_ids), budget_for(model, None)))


def _memory(model: PreTrainedModel, prompts: PromptSet, on: str) -> Row:
    """Peak memory beside the weights over what the formulas say."""
    torch.cuda.empty_cache()
    before, budget = torch.cuda.memory_allocated(model.device), budget_for(model, None)
    torch.cuda.reset_peak_memory_stats(model.device)
    decompose(model, prompts)
    seen = torch.cuda.max_memory_allocated(model.device) - before
    shape, dtype = ModelShape.of(model.config.to_dict()), str(model.dtype).removeprefix("torch.")
    groups = batches([len(own) for own in prompts.own_ids], len(prompts.shared_ids), budget)
    longest = max(len(group) * max(len(prompts.own_ids[i]) for i in group) for group in groups)
    largest, n_shared, n_labels = max(map(len, groups)), len(prompts.shared_ids), len(prompts.label_ids)
    said = batch_bytes(shape, dtype, min(budget, longest), n_shared) + decomposition_bytes(
        shape, dtype, n_examples=len(prompts.own_ids), n_labels=n_labels, n_batch=largest
    )
    return Row("peak memory / formula", on, seen / said, 1.0, note=f"{seen / 1e9:.2f} GB beside the weights")


def _seconds(run: Callable[[], object]) -> float:
    """The least of some runs after one that does not count; each ends with its results on the CPU."""
    seconds = []
    for _ in range(1 + RUNS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def _matrix_product(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square matrix product: the most that the device does in practice."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / _seconds(lambda: (a @ b)[0, 0].item())


def _weight_bytes(size: str, precision: str) -> float:
    n_blocks, width = SHAPES[size]
    return BYTES_OF[str(_dtype(precision)).removeprefix("torch.")] * (12 * n_blocks * width**2 + 2 * 50_304 * width)


def _dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """TF32 for products of float32 where it is named, and not where it is not."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
