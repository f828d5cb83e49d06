"""Batches of examples: sorted by length, within a budget of padded tokens that memory allows."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.forward.memory import MAX_TOKENS_CPU, MAX_TOKENS_GPU, ModelShape, bytes_per_token

_SHARE_OF_FREE = 0.5
"""Share of the free memory for a batch; the rest is for what the formulae leave out and for other workers."""


def batches(
    lengths: Sequence[int], shared: int, token_budget: float, apart: Sequence[int] | None = None
) -> list[list[int]]:
    """Positions of examples in batches, longest first, so that the padded tokens of a batch fit the budget.

    A batch also ends where its next example would be more than a sixth (and six tokens) shorter than its longest.

    Args:
        lengths: number of tokens of each example after the shared prefix.
        shared: number of tokens of the shared prefix, whose keys and values each example of a batch needs too.
        token_budget: maximum number of padded tokens of a batch, the shared ones included, unless it has one example.
        apart: a number per example; those of a batch have the same. None where any examples may share a batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    groups: list[list[int]] = []
    for i in order:
        longest = lengths[groups[-1][0]] if groups else 0
        fits = groups and (shared + longest) * (len(groups[-1]) + 1) <= token_budget
        alike = groups and (apart is None or apart[i] == apart[groups[-1][0]])
        if fits and alike and longest - lengths[i] <= max(6, longest // 6):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def in_batches(
    run: Callable[[list[int]], Sequence[Tensor]],
    lengths: Sequence[int],
    shared: int,
    token_budget: int,
    apart: Sequence[int] | None = None,
) -> list[Tensor]:
    """Run every batch; results are on the CPU, in the order of the examples.

    A batch that does not fit into memory is run again as two halves, and so are all larger ones after it.

    Args:
        run: positions of examples -> results whose first axis is these examples.
        lengths, shared, token_budget, apart: as for `batches`.

    Returns:
        One tensor per result of `run`, copied from the device once, after all batches.

    Raises:
        OutOfMemoryError, MemoryError: a single example does not fit.
    """
    pending = batches(lengths, shared, token_budget, apart)[::-1]
    order: list[int] = []
    results: list[Sequence[Tensor]] = []
    max_size = len(lengths)
    while pending:
        batch = pending.pop()
        if len(batch) > max_size:
            pending += [batch[max_size:], batch[:max_size]]
            continue
        try:
            results.append(run(batch))
        except (RuntimeError, MemoryError) as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            max_size = len(batch) // 2
        else:
            order += batch
            continue
        pending.append(batch)
        _empty_cache()  # after the except clause, when the error no longer holds the batch's tensors
    inverse = torch.tensor(order).argsort()
    return [torch.cat(list(parts)).cpu()[inverse] for parts in zip(*results, strict=True)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; on a CPU, torch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def budget_for(model: PreTrainedModel, token_budget: int | None) -> int:
    """Padded tokens per batch: `token_budget`, or where it is None as many as half of the free memory holds.

    Args:
        model: the model, for its shape, dtype and device.
        token_budget: None to fit free memory.
    """
    if token_budget is not None:
        return token_budget
    per_token = bytes_per_token(ModelShape.of(model.config.to_dict()), str(model.dtype).removeprefix("torch."))
    fitting = int(_SHARE_OF_FREE * free_bytes(model.device)) // per_token
    return max(1, min(fitting, MAX_TOKENS_CPU if model.device.type == "cpu" else MAX_TOKENS_GPU))


def free_bytes(device: torch.device) -> int:
    """Memory in bytes that a batch can take on a device; on a CPU, what the system reports as available.

    On a GPU that workers share, no more than what is left of this process's share.
    """
    if device.type == "cuda":
        allocated = torch.cuda.memory_allocated(device)
        free, total = torch.cuda.mem_get_info(device)
        of_share = int(torch.cuda.get_per_process_memory_fraction(device) * total) - allocated
        return max(0, min(free + torch.cuda.memory_reserved(device) - allocated, of_share))
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: all memory, of which a batch takes half
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _empty_cache() -> None:
    """Return cached blocks to the device, so that smaller ones fit."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
