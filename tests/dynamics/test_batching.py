"""Batches hold every example once, within the budget; their size changes nothing; prompts run again show faults."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from dynamics.decomposition import UnembeddingProjection, decompose, relative_error, split_logits
from dynamics.errors import FailedCheck
from dynamics.families.anatomy import Anatomy
from dynamics.forward import batching
from dynamics.forward.batching import batches, budget_for, in_batches, is_out_of_memory
from dynamics.forward.last_token import LastToken
from dynamics.forward.memory import ModelShape, bytes_per_token
from dynamics.forward.rerun import prompts_to_rerun
from dynamics.full_model import full_logits
from dynamics.gate import check_forward, check_unit
from dynamics.prompts import PromptSet
from tests.dynamics.test_decomposition import one_by_one, ragged_prompts
from tests.models import VARIANTS, perturbed

Run = Callable[[list[int]], tuple[torch.Tensor, ...]]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(0, 50), st.integers(1, 600))
def test_every_example_is_in_one_batch_and_no_batch_exceeds_the_budget(
    lengths: list[int], shared: int, budget: int
) -> None:
    groups = batches(lengths, shared, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        own = [lengths[i] for i in group]
        assert len(group) == 1 or (shared + max(own)) * len(group) <= budget
        assert max(own) - min(own) <= max(6, max(own) // 6)


@pytest.mark.parametrize("budget", [1, 30, 1000])
def test_results_come_back_in_the_order_of_the_examples(budget: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 20, 30).tolist()
    first, second = in_batches(echo, lengths, 3, budget)
    assert first.tolist() == list(range(30))
    assert second.tolist() == [[2 * i] for i in range(30)]


def echo(group: list[int]) -> tuple[torch.Tensor, ...]:
    """Each example's position, and twice that with an axis more."""
    return torch.tensor(group), 2 * torch.tensor(group)[:, None]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."),
    ],
)
@pytest.mark.parametrize("room", [1, 3, 7])
def test_a_batch_that_does_not_fit_is_halved_and_larger_ones_after_it_too(error: Exception, room: int) -> None:
    tried: list[int] = []

    def run(group: list[int]) -> tuple[torch.Tensor, ...]:
        tried.append(len(group))
        if len(group) > room:
            raise error
        return echo(group)

    assert in_batches(run, [5] * 40, 0, 60)[0].tolist() == list(range(40))
    first_fit = next(i for i, size in enumerate(tried) if size <= room)
    assert max(tried[first_fit:]) <= room
    assert all(later <= earlier // 2 for earlier, later in pairwise(tried[: first_fit + 1]))


def test_one_example_that_does_not_fit_is_the_callers_error() -> None:
    with pytest.raises(MemoryError):
        in_batches(failing(MemoryError()), [5, 5], 0, 100)


def test_another_error_is_not_tried_again() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(failing(RuntimeError("shapes differ")), [5, 5], 0, 100)
    assert not is_out_of_memory(ValueError("no"))


def failing(error: Exception) -> Run:
    """Always that error."""

    def run(_: list[int]) -> tuple[torch.Tensor, ...]:
        raise error

    return run


@pytest.mark.parametrize("variant", VARIANTS)
def test_running_out_of_memory_changes_no_number(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = perturbed(VARIANTS[variant]), ragged_prompts()
    whole = decompose(model, prompts)

    def small_memory(
        anatomy: Anatomy, projection: UnembeddingProjection, last: LastToken
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if len(last.heads) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return split_logits(anatomy, projection, last)

    monkeypatch.setattr("dynamics.decomposition.split_logits", small_memory)
    split = decompose(model, prompts)
    np.testing.assert_allclose(split.contributions, whole.contributions, atol=1e-5)
    np.testing.assert_allclose(split.full, whole.full, atol=1e-5)


def test_an_open_budget_is_what_half_of_the_free_memory_holds(
    neox: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_token = bytes_per_token(ModelShape.of(neox.config.to_dict()), "float32")
    monkeypatch.setattr(batching, "free_bytes", lambda _: 200 * per_token)
    assert budget_for(neox, None) == 100
    assert budget_for(neox, 7) == 7
    monkeypatch.setattr(batching, "free_bytes", lambda _: 10**15)
    assert budget_for(neox, None) == batching.MAX_TOKENS_CPU
    monkeypatch.setattr(batching, "free_bytes", lambda _: 0)
    assert budget_for(neox, None) == 1


def test_free_memory_is_some() -> None:
    assert 10**6 < batching.free_bytes(torch.device("cpu")) < 10**14


class _Waits(TorchDispatchMode):
    """Counts what would make a GPU's queue wait: a number read from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shared", [0, 7])
def test_nothing_waits_for_the_device_between_batches(
    variant: str, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any number of batches, results leave the device when all are done."""
    model, prompts = perturbed(VARIANTS[variant]), ragged_prompts(shared=shared)
    assert waits(model, prompts, 1, monkeypatch) == waits(model, prompts, 10_000, monkeypatch)


def waits(model: PreTrainedModel, prompts, token_budget: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often one decomposition reads a tensor from the device."""
    copies: list[torch.Tensor] = []
    cpu = torch.Tensor.cpu
    with monkeypatch.context() as patch, _Waits() as mode:
        patch.setattr(torch.Tensor, "cpu", lambda tensor: (copies.append(tensor), cpu(tensor))[1])
        decompose(model, prompts, token_budget=token_budget)
    return len(mode.seen) + len(copies)


def of_lengths(lengths: Sequence[int], shared: int = 0) -> PromptSet:
    """Random prompts of these lengths."""
    rng = np.random.default_rng(0)
    own = tuple(tuple(rng.integers(2, 64, n).tolist()) for n in lengths)
    return replace(ragged_prompts(len(lengths), shared=shared), own_ids=own)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=400), st.integers(0, 50))
def test_prompts_run_again_are_few_and_hold_the_extremes(lengths: list[int], shared: int) -> None:
    prompts = of_lengths(lengths, shared)
    chosen = prompts_to_rerun(prompts)
    assert len(set(chosen)) == len(chosen)
    assert chosen == prompts_to_rerun(replace(prompts))
    assert {max(lengths), min(lengths)} <= {lengths[i] for i in chosen}
    assert min(3, len(lengths)) <= len(chosen) <= 12
    read_again = sum(shared + lengths[i] for i in chosen)
    assert len(chosen) <= 3 or read_again <= (shared + sum(lengths)) / 64


def test_each_range_of_lengths_has_a_padded_prompt_run_again() -> None:
    """Ranges of an endless budget: 60 to 50, 45 to 38, 20 to 14; another seed draws other prompts."""
    lengths = [60, 50, 55, 45, 38, 40, 20, 14, 17] * 110
    chosen = prompts_to_rerun(of_lengths(lengths))
    assert len(chosen) == 9
    for low, high in ((50, 60), (38, 45), (14, 20)):
        assert any(low <= lengths[i] < high for i in chosen[2:])
    assert chosen[2:] != prompts_to_rerun(of_lengths(lengths, shared=1))[2:]


@pytest.mark.parametrize("shared", [0, 7])
def test_a_fault_that_only_padding_shows_fails_the_unit(shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last column of a batch instead of each prompt's last token: right for the longest, and for one by itself."""
    model, prompts = perturbed(VARIANTS["llama"]), of_lengths([40, 20, 18, 19, 17, 20, 18, 2], shared)
    own = one_by_one(model, prompts)

    def last_column(_: Anatomy, token_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor([max(map(len, token_ids)) - 1] * len(token_ids))

    monkeypatch.setattr("dynamics.forward.last_token._last_positions", last_column)
    split = decompose(model, prompts)
    assert relative_error(split.full[[0, -1]], own[[0, -1]]) < 1e-5  # what the gate saw: the longest and the shortest
    assert relative_error(split.full, own) > 0.1
    with pytest.raises(FailedCheck, match="batched pass"):
        check_unit(split.error, split.forward_error, "float32")
    with pytest.raises(FailedCheck, match="batched pass"):
        check_forward(full_logits(model, prompts).forward_error, "float32", "standard")


def test_a_fault_in_the_middle_of_equal_lengths_fails_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is padded, and every batch answers all its prompts but the first and the last alike."""
    model, prompts = perturbed(VARIANTS["llama"]), of_lengths([9] * 40)
    own = one_by_one(model, prompts)

    def mixed(
        anatomy: Anatomy, projection: UnembeddingProjection, last: LastToken
    ) -> tuple[torch.Tensor, torch.Tensor]:
        contributions, full = split_logits(anatomy, projection, last)
        order = [0, *[1] * (len(full) - 2), len(full) - 1]
        return contributions[order], full[order]

    monkeypatch.setattr("dynamics.decomposition.split_logits", mixed)
    split = decompose(model, prompts)
    assert relative_error(split.full[[0, -1]], own[[0, -1]]) < 1e-5
    with pytest.raises(FailedCheck, match="batched pass"):
        check_unit(split.error, split.forward_error, "float32")
