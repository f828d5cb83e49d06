"""Which examples run together: sorted by length, within a budget of tokens that memory allows."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.forward.memory import MAX_TOKENS_CPU, MAX_TOKENS_GPU, ModelShape, bytes_per_token

_SHARE_OF_FREE = 0.5
"""Of the memory that is free; the rest is for what the formula leaves out and for other workers."""


def batches(lengths: Sequence[int], shared: int, token_budget: int) -> list[list[int]]:
    """Example positions grouped by length, longest first, so that a batch's padded tokens fit the budget.

    A batch also ends where its next example would be more than a sixth (and six tokens) shorter than its longest.

    Args:
        lengths: own tokens of each example.
        shared: tokens of the shared prefix, whose keys and values each example of a batch holds too.
        token_budget: padded tokens a batch may hold, the shared ones included; a single example always passes.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    groups: list[list[int]] = []
    for i in order:
        longest = lengths[groups[-1][0]] if groups else 0
        fits = groups and (shared + longest) * (len(groups[-1]) + 1) <= token_budget
        if fits and longest - lengths[i] <= max(6, longest // 6):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def in_batches(
    run: Callable[[list[int]], Sequence[Tensor]], lengths: Sequence[int], shared: int, token_budget: int
) -> list[Tensor]:
    """Run every batch and put its results back in the order of the examples, on the CPU.

    A batch that does not fit into memory is run again as two halves, and so are all larger ones after it.

    Args:
        run: positions of examples -> results whose first axis is those examples.
        lengths, shared, token_budget: as for `batches`.

    Returns:
        One tensor per result of `run`, moved off the device once, when all batches are done.

    Raises:
        OutOfMemoryError, MemoryError: a single example does not fit.
    """
    waiting = batches(lengths, shared, token_budget)[::-1]
    order: list[int] = []
    results: list[Sequence[Tensor]] = []
    most = len(lengths)
    while waiting:
        group = waiting.pop()
        if len(group) > most:
            waiting += [group[most:], group[:most]]
            continue
        try:
            results.append(run(group))
        except (RuntimeError, MemoryError) as error:
            if len(group) == 1 or not is_out_of_memory(error):
                raise
            most = len(group) // 2
        else:
            order += group
            continue
        waiting.append(group)
        _release()  # here, where the error and with it the batch's tensors are gone
    back = torch.tensor(order).argsort()
    return [torch.cat(list(parts)).cpu()[back] for parts in zip(*results, strict=True)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or on a CPU, where torch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def budget_for(model: PreTrainedModel, token_budget: int | None) -> int:
    """Padded tokens per batch: those asked for, or what half of the free memory holds.

    Args:
        model: whose shape, dtype and device decide.
        token_budget: None to find it.
    """
    if token_budget is not None:
        return token_budget
    per_token = bytes_per_token(ModelShape.of(model.config.to_dict()), str(model.dtype).removeprefix("torch."))
    fitting = int(_SHARE_OF_FREE * free_bytes(model.device)) // per_token
    return max(1, min(fitting, MAX_TOKENS_CPU if model.device.type == "cpu" else MAX_TOKENS_GPU))


def halved(token_budget: int | None) -> int:
    """The budget to try after a process ran out of memory with this one."""
    return max(1, (MAX_TOKENS_CPU if token_budget is None else token_budget) // 2)


def free_bytes(device: torch.device) -> int:
    """Memory that a batch could take on a device; on a CPU, what the system calls available."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: what there is, of which a half is taken anyway
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _release() -> None:
    """Give cached blocks back to the device, so that smaller ones find room."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
