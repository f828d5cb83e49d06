"""Forward passes that store only what the decomposition needs: every part at the last prompt token.

The demonstrations of a prompt set are the same for all its examples, so their keys and values are computed once and an
example costs only its own tokens. Batches are padded on the right: under a causal mask no real token attends to a pad,
and positions count from the start of the prompt, so a ragged batch equals one-by-one passes. Where rotary frequencies
depend on a prompt's length, a batch and its prefix have one set of them (`dynamics/families/rotary.py`). In the last
block, W_O and the MLP are computed at the last token only, since the outputs at other positions are not needed.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dynamics.families.anatomy import Anatomy
from dynamics.forward.prefix import SharedPrefix


@dataclass(frozen=True)
class LastToken:
    """The parts of the residual stream at each example's last token, in the model's dtype.

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
    """The parts at the last tokens of a batch, by one forward pass.

    Args:
        anatomy: the model's parts.
        token_ids: one non-empty list of ids per example, those after the prefix if there is one; of any lengths with
            the same rotary frequencies (`Anatomy.frequencies_like`).
        prefix: keys and values of the tokens that all examples share, from `shared_prefix`.
        pad_id: any valid id; no real token attends to pads.
    """
    last = _last_positions(anatomy, token_ids)
    with _only_at(anatomy, last), _capture(anatomy, last) as captured:
        hidden_states(anatomy, token_ids, prefix, pad_id=pad_id)
    return LastToken(
        embedding=captured["embedding"][:, 0],
        heads=captured["heads"],
        projected=captured.get("projected"),
        mlps=captured["mlps"],
        residual=captured["residual"][:, 0],
        normed=captured["normed"][:, 0],
    )


def last_state(
    anatomy: Anatomy,
    token_ids: Sequence[Sequence[int]],
    prefix: SharedPrefix | None = None,
    *,
    pad_id: int = 0,
    inside: AbstractContextManager[None] | None = None,
) -> Tensor:
    """The final norm's output at each example's last token: (example, d_model).

    Args:
        anatomy, token_ids, prefix, pad_id: as for `last_token`.
        inside: entered for the pass, after the hooks that leave one position in the last block.
    """
    last = _last_positions(anatomy, token_ids)
    with _only_at(anatomy, last), inside or nullcontext():
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
    n_shared = 0 if prefix is None else prefix.get_seq_length()
    like = anatomy.frequencies_like(n_shared + width)
    assert all(anatomy.frequencies_like(n_shared + len(ids)) == like for ids in token_ids), "lengths of two frequencies"
    assert prefix is None or prefix.like == like, "a prefix of other frequencies"
    with torch.inference_mode(), anatomy.as_for(like):
        output = anatomy.backbone(input_ids=padded, past_key_values=prefix, use_cache=prefix is not None)
    return output.last_hidden_state


def shared_prefix(anatomy: Anatomy, token_ids: Sequence[int], length: int) -> SharedPrefix | None:
    """Keys and values of the tokens that all examples of a prompt set begin with; None when there are none.

    Args:
        anatomy: the model's parts.
        token_ids: the shared tokens.
        length: number of tokens of a whole prompt; the keys are right for all whose rotary frequencies are the same.
    """
    if not token_ids:
        return None
    ids = _on_device([token_ids], anatomy.device)
    last = _last_positions(anatomy, [token_ids])
    with torch.inference_mode(), anatomy.as_for(length), _only_at(anatomy, last):
        output = anatomy.backbone(input_ids=ids, use_cache=True)
    return SharedPrefix(output.past_key_values, anatomy.frequencies_like(length))


def _last_positions(anatomy: Anatomy, token_ids: Sequence[Sequence[int]]) -> Tensor:
    """Position of each example's last token: (example,)."""
    return _on_device([len(ids) - 1 for ids in token_ids], anatomy.device)


def _on_device(values: Sequence[Any], device: torch.device) -> Tensor:
    """Integers on a device, by a transfer that does not block a GPU's queue of work."""
    return torch.tensor(values, pin_memory=device.type == "cuda").to(device, non_blocking=True)


@contextmanager
def _only_at(anatomy: Anatomy, last: Tensor) -> Iterator[None]:
    """In the last block, run W_O and the MLP at the positions `last` (example,) only.

    Their outputs have one position, which the block adds at all positions of its residual stream; the result is right
    at `last` and meaningless elsewhere. A module that reads flat tokens, (example * position, width), as the MLP of OPT
    does, runs at all of them.
    """
    rows = torch.arange(len(last), device=last.device)

    def cut(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return None if inputs[0].ndim == 2 else (inputs[0][rows, last].unsqueeze(1), *inputs[1:])

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
    """Hooks that store the rows at `last` (example,) of every part: name -> (example, block, width).

    They are removed on exit, also after an error. Enter it inside `_only_at`, so that its hooks see the one position
    that `_only_at` leaves. The rows of all blocks go into one tensor, allocated at the first block: small tensors that
    are allocated between large temporary ones prevent the allocator from reusing their memory (a fifth of the peak at
    410m).
    """
    captured: dict[str, Tensor] = {}
    rows = torch.arange(len(last), device=last.device)

    def store(name: str, i: int, n_blocks: int, hidden: Tensor) -> None:
        hidden = hidden.view(len(last), -1, hidden.shape[-1])
        if name not in captured:
            captured[name] = hidden.new_empty(len(last), n_blocks, hidden.shape[-1])
        captured[name][:, i] = hidden[:, 0] if hidden.shape[1] == 1 else hidden[rows, last]

    def on_input(module: nn.Module, name: str, i: int = 0, n_blocks: int = 1) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            store(name, i, n_blocks, inputs[0])

        return module.register_forward_pre_hook(hook)

    def on_output(module: nn.Module, name: str, i: int = 0, n_blocks: int = 1) -> RemovableHandle:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            store(name, i, n_blocks, output)

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
        yield captured
    finally:
        for handle in handles:
            handle.remove()
