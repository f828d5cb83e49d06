"""Workers that share a GPU: each keeps to its share of the memory, and fits its batches into what is left of that."""

import pytest
import torch

from dynamics.forward.batching import free_bytes
from jobs.open_checkpoint import keep_to_share

GB = 10**9


@pytest.mark.parametrize(
    ("device", "num_gpus", "expected"),
    [
        ("cuda", 0.25, [(0.25, None)]),
        ("cuda:1", 0.5, [(0.5, 1)]),
        ("cuda", 1, []),
        ("cuda", 0, []),  # no share was asked for
        ("cpu", 0.25, []),
    ],
)
def test_a_worker_is_limited_to_the_share_that_it_requests(
    monkeypatch: pytest.MonkeyPatch, device: str, num_gpus: float, expected: list[tuple[float, int | None]]
) -> None:
    limits: list[tuple[float, int | None]] = []
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", lambda *limit: limits.append(limit))
    keep_to_share(device, num_gpus)
    assert limits == expected


@pytest.mark.parametrize(
    ("share", "allocated", "reserved", "free", "expected"),
    [
        (1.0, 10, 12, 60, 62),  # a GPU of one's own: what is free, and what this process holds unused
        (0.25, 10, 12, 60, 10),  # a quarter of 80 less what is taken of it
        (0.25, 10, 12, 5, 7),  # others have taken more than their share
        (0.25, 21, 21, 60, 0),
    ],
)
def test_a_batch_takes_no_more_than_what_is_left_of_the_share(
    monkeypatch: pytest.MonkeyPatch, share: float, allocated: int, reserved: int, free: int, expected: int
) -> None:
    for name, value in {
        "get_per_process_memory_fraction": share,
        "memory_allocated": allocated * GB,
        "memory_reserved": reserved * GB,
        "mem_get_info": (free * GB, 80 * GB),
    }.items():
        monkeypatch.setattr(f"torch.cuda.{name}", lambda _, value=value: value)
    assert free_bytes(torch.device("cuda")) == expected * GB
