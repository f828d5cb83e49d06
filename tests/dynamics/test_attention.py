"""Observed attention against the weights that eager attention returns, for every family, one prompt at a time."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from dynamics.families import anatomy
from dynamics.forward.attention import LayerAttention, observed
from dynamics.forward.last_token import hidden_states, last_token, shared_prefix
from tests.models import OBSERVED, VARIANTS, perturbed

SHARED = (3, 1, 4, 1, 5, 9, 2)
OWN = ((6, 5, 3, 5), (8, 9), (7, 9, 3, 2, 3, 8))


def eager(model: PreTrainedModel, token_ids: Sequence[int]) -> list[Tensor]:
    """(head, query, key) of each layer, from a copy of the model with eager attention."""
    copy = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager", dtype=torch.float32).eval()
    copy.load_state_dict(model.state_dict())
    with torch.inference_mode():
        return [w[0] for w in copy(input_ids=torch.tensor([token_ids]), output_attentions=True).attentions]


@pytest.mark.parametrize("name", OBSERVED)
def test_weights_of_a_ragged_batch_after_a_shared_prefix_are_those_of_eager(name: str) -> None:
    model = perturbed(VARIANTS[name])
    parts = anatomy(model)
    last = torch.tensor([len(ids) - 1 for ids in OWN])
    found: dict[int, Tensor] = {}

    def observe(layer: LayerAttention) -> None:
        found[layer.layer] = layer.weights(last)

    prefix = shared_prefix(parts, SHARED, len(SHARED) + 6)
    with observed(model, observe):
        seen = last_token(parts, OWN, prefix)
    torch.testing.assert_close(seen.residual, last_token(parts, OWN, prefix).residual, rtol=1e-5, atol=1e-5)
    assert sorted(found) == [0, 1]
    width = max(map(len, OWN))
    for i, ids in enumerate(OWN):
        for layer, expected in enumerate(eager(model, (*SHARED, *ids))):
            weights = found[layer][i]
            dropped = len(SHARED) + width - weights.shape[-1]  # a sliding window's cache holds the last keys only
            own = weights[:, : len(SHARED) + len(ids) - dropped]  # after them there are pads
            torch.testing.assert_close(own, expected[:, -1, dropped:], rtol=0, atol=1e-5)
            assert not weights[:, own.shape[-1] :].any()


@pytest.mark.parametrize("name", OBSERVED)
def test_weights_of_all_queries_are_those_of_eager(name: str) -> None:
    model = perturbed(VARIANTS[name])
    ids = (*SHARED, *OWN[0])
    found: list[Tensor] = []
    with observed(model, lambda layer: found.append(layer.weights()[0])):
        hidden_states(anatomy(model), [ids])
    for own, expected in zip(found, eager(model, ids), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-5)
    assert model.config._attn_implementation != "observed"
