"""Forward passes that keep only what the decomposition reads: the last prompt token of every part.

The demonstrations of a prompt set are the same for all its examples, so their keys and values are computed once and
each example pays for its own tokens only. Batches are padded on the right: under a causal mask no real token sees a
pad, and positions count from the prompt's start, so a ragged batch equals one-by-one passes. In the last block only
the last token goes on from the heads, through W_O and the MLP, since nobody reads the others.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dynamics.families.anatomy import Anatomy
from dynamics.forward.prefix import SharedPrefix


@dataclass(frozen=True)
class LastToken:
    """The residual stream's parts at each example's last token, in the model's dtype.

    Attributes:
        embedding: (example, d_model), the first block's input.
        heads: (example, layer, n_heads * d_head), each attention output projection's input.
        projected: (example, layer, d_model), the projections' outputs; None unless a block norms them.
        mlps: (example, layer, d_model), each MLP's output as it is added.
        residual: (example, d_model), the final norm's input: the sum of all parts.
        normed: (example, d_model), the final norm's output.
    """

    embedding: Tensor
    heads: Tensor
    projected: Tensor | None
    mlps: Tensor
    residual: Tensor
    normed: Tensor


def last_token(
    anatomy: Anatomy, token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None = None, *, pad_id: int = 0
) -> LastToken:
    """One forward pass over a batch of prompts (or, after `prefix`, of their last parts).

    Args:
        anatomy: where the model keeps its parts.
        token_ids: one non-empty list of ids per example, of any lengths.
        prefix: keys and values of the tokens that all examples share, from `shared_prefix`.
        pad_id: any valid id; pads are never seen by a real token.
    """
    last = _last(anatomy, token_ids)
    with _only_at(anatomy, last), _capture(anatomy, last) as kept:
        hidden_states(anatomy, token_ids, prefix, pad_id=pad_id)
    return LastToken(
        embedding=kept["embedding"][:, 0],
        heads=kept["heads"],
        projected=kept.get("projected"),
        mlps=kept["mlps"],
        residual=kept["residual"][:, 0],
        normed=kept["normed"][:, 0],
    )


def last_state(
    anatomy: Anatomy, token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None = None, *, pad_id: int = 0
) -> Tensor:
    """The final norm's output at each example's last token: (example, d_model). Arguments as for `last_token`."""
    last = _last(anatomy, token_ids)
    with _only_at(anatomy, last):
        hidden = hidden_states(anatomy, token_ids, prefix, pad_id=pad_id)
    return hidden[torch.arange(len(last), device=last.device), last]


def hidden_states(
    anatomy: Anatomy, token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None = None, *, pad_id: int = 0
) -> Tensor:
    """The final norm's output at every token of a batch: (example, position, d_model), pads included.

    Arguments as for `last_token`.
    """
    width = max(map(len, token_ids))
    padded = _on_device([[*ids, *[pad_id] * (width - len(ids))] for ids in token_ids], anatomy.device)
    with torch.inference_mode():
        output = anatomy.backbone(input_ids=padded, past_key_values=prefix, use_cache=prefix is not None)
    return output.last_hidden_state


def shared_prefix(anatomy: Anatomy, token_ids: Sequence[int]) -> SharedPrefix | None:
    """Keys and values of the tokens that all examples of a prompt set begin with; None when there are none."""
    if not token_ids:
        return None
    ids = _on_device([token_ids], anatomy.device)
    with torch.inference_mode(), _only_at(anatomy, _last(anatomy, [token_ids])):
        output = anatomy.backbone(input_ids=ids, use_cache=True)
    return SharedPrefix(output.past_key_values)


def _last(anatomy: Anatomy, token_ids: Sequence[Sequence[int]]) -> Tensor:
    """Position of each example's last token: (example,)."""
    return _on_device([len(ids) - 1 for ids in token_ids], anatomy.device)


def _on_device(values: Sequence[Any], device: torch.device) -> Tensor:
    """Integers on a device, by a transfer that a GPU's queue of work need not wait for."""
    return torch.tensor(values, pin_memory=device.type == "cuda").to(device, non_blocking=True)


@contextmanager
def _only_at(anatomy: Anatomy, last: Tensor) -> Iterator[None]:
    """In the last block, run W_O and the MLP at the positions `last` (example,) only.

    What they return has one position, which the block adds to all of its residual stream: right at `last`, and
    meaningless elsewhere.
    """
    rows = torch.arange(len(last), device=last.device)

    def cut(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return inputs[0][rows, last].unsqueeze(1), *inputs[1:]

    block = anatomy.blocks[-1]
    modules = (block.attention_output, block.feed_forward or block.mlp)
    handles = [module.register_forward_pre_hook(cut) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _capture(anatomy: Anatomy, last: Tensor) -> Iterator[dict[str, Tensor]]:
    """Hooks that keep the rows at `last` (example,) of every part: name -> (example, block, width).

    They are removed on leaving, even by an error. Entered inside `_only_at`, so that where that leaves one position its
    hooks see it. All blocks' rows go into one tensor, made at the first: small tensors that stay, made between large
    ones that go, keep an allocator from using the room of the large ones again (a fifth of the peak at 410m).
    """
    kept: dict[str, Tensor] = {}
    rows = torch.arange(len(last), device=last.device)

    def keep(name: str, i: int, of: int, hidden: Tensor) -> None:
        if name not in kept:
            kept[name] = hidden.new_empty(len(last), of, hidden.shape[-1])
        kept[name][:, i] = hidden[:, 0] if hidden.shape[1] == 1 else hidden[rows, last]

    def on_input(module: nn.Module, name: str, i: int = 0, of: int = 1) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            keep(name, i, of, inputs[0])

        return module.register_forward_pre_hook(hook)

    def on_output(module: nn.Module, name: str, i: int = 0, of: int = 1) -> RemovableHandle:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            keep(name, i, of, output)

        return module.register_forward_hook(hook)

    handles = []
    try:
        handles.append(on_input(anatomy.first_block, "embedding"))
        for i, block in enumerate(anatomy.blocks):
            handles.append(on_input(block.attention_output, "heads", i, anatomy.n_layers))
            handles.append(on_output(block.mlp, "mlps", i, anatomy.n_layers))
            if block.attention_post_norm is not None:
                handles.append(on_output(block.attention_output, "projected", i, anatomy.n_layers))
        handles.append(on_input(anatomy.final_norm.module, "residual"))
        handles.append(on_output(anatomy.final_norm.module, "normed"))
        yield kept
    finally:
        for handle in handles:
            handle.remove()
