"""Passes over a prompt set: its prompts in batches, after demonstrations with the rotary frequencies of the batch."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from torch import Tensor
from transformers import PreTrainedModel

from dynamics.families.anatomy import Anatomy
from dynamics.forward.batching import budget_for, in_batches
from dynamics.forward.last_token import shared_prefix
from dynamics.forward.prefix import SharedPrefix
from dynamics.prompts import PromptSet

RunBatch = Callable[[Sequence[Sequence[int]], SharedPrefix | None], Sequence[Tensor]]
"""Token ids of a batch after the shared prefix, and this prefix -> results whose first axis is the examples."""


def run_prompts(
    model: PreTrainedModel, anatomy: Anatomy, prompts: PromptSet, run: RunBatch, token_budget: int | None
) -> list[Tensor]:
    """Run every prompt of a set in batches; results are on the CPU, in the order of the prompts.

    The prefix is computed once for all prompts with the same rotary frequencies, which is all of them unless the
    model's rope type is one of `dynamics.families.rotary.BY_LENGTH`; the latest one is kept.

    Args:
        model, anatomy: a model and its parts.
        prompts: token ids.
        run: runs one batch.
        token_budget: padded tokens per batch, None to fit free memory.
    """
    n_shared, lengths = len(prompts.shared_ids), [len(ids) for ids in prompts.own_ids]
    like = [anatomy.frequencies_like(n_shared + length) for length in lengths]

    @lru_cache(maxsize=1)
    def prefix_for(length: int) -> SharedPrefix | None:
        return shared_prefix(anatomy, prompts.shared_ids, length)

    def run_batch(batch: list[int]) -> Sequence[Tensor]:
        return run([prompts.own_ids[i] for i in batch], prefix_for(like[batch[0]]))

    prefix_for(max(like))  # the first batch's, in memory before the budget is taken from what is free
    return in_batches(run_batch, lengths, n_shared, budget_for(model, token_budget), like)
