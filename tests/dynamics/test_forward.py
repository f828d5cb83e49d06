"""What a forward pass keeps, what it leaves as it was, and what it does not compute."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from dynamics.families import anatomy
from dynamics.forward.last_token import hidden_states, last_state, last_token, shared_prefix
from tests.dynamics.test_decomposition import ragged_prompts
from tests.models import VARIANTS, perturbed

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
def test_a_shared_prefix_is_left_as_it_was(variant: str) -> None:
    """Read by many batches, of any size: neither longer nor other numbers afterwards, and no layer keeps a copy."""
    parts, prompts = anatomy(perturbed(VARIANTS[variant])), ragged_prompts()
    prefix = shared_prefix(parts, prompts.shared_ids, 20)
    assert prefix is not None
    before = [layer.filled.keys.clone() for layer in prefix.layers]
    first = last_token(parts, prompts.own_ids, prefix)
    last_token(parts, prompts.own_ids[:2], prefix)
    again = last_token(parts, prompts.own_ids, prefix)
    assert prefix.get_seq_length() == len(prompts.shared_ids)
    for layer, keys in zip(prefix.layers, before, strict=True):
        assert torch.equal(layer.filled.keys, keys)
        assert layer.keys is None
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(again, field.name)
        assert (one is other is None) or torch.equal(one, other)


@every_variant
@pytest.mark.parametrize("shared", [0, 7])
def test_the_last_state_is_that_of_all_states(variant: str, shared: int) -> None:
    parts, prompts = anatomy(perturbed(VARIANTS[variant])), ragged_prompts(shared=shared)
    prefix = shared_prefix(parts, prompts.shared_ids, 20)
    everywhere = hidden_states(parts, prompts.own_ids, prefix)
    expected = [everywhere[row, len(own) - 1].numpy() for row, own in enumerate(prompts.own_ids)]
    np.testing.assert_allclose(last_state(parts, prompts.own_ids, prefix), expected, atol=1e-5)


@every_variant
def test_the_last_block_works_on_one_token_and_the_others_on_all(variant: str) -> None:
    parts, prompts = anatomy(perturbed(VARIANTS[variant])), ragged_prompts()
    seen: list[int] = []

    def count(_: nn.Module, __: tuple, output: torch.Tensor) -> None:
        seen.append(output.shape[-2])

    handles = [
        module.register_forward_hook(count)
        for block in parts.blocks
        for module in (block.attention_output, block.feed_forward or block.mlp)
    ]
    last_token(parts, prompts.own_ids)
    for handle in handles:
        handle.remove()
    width = max(map(len, prompts.own_ids))
    flat = len(prompts.own_ids) * width  # the MLP of OPT reads tokens without their order, in the last block too
    assert seen == ([width, flat, 1, flat] if variant.startswith("opt") else [*[width] * (len(seen) - 2), 1, 1])
