"""Anatomy of a model, which a family file fills in: its blocks, norms and unembedding."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dynamics.errors import UnsupportedModel
from dynamics.families.rotary import Rotary

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Norm:
    """A norm `gain * (x - mean(x) if centred else x) / s + bias`.

    Attributes:
        module: the norm as a module; its input is the vector that is normalised.
        kind: `layer` (centred, s = sqrt(Var(x) + eps)) or `rms` (not centred, s = sqrt(mean(x^2) + eps)).
        gain: (d_model,).
        bias: (d_model,) or None.
        eps: the norm's own epsilon.
    """

    module: nn.Module
    kind: Literal["layer", "rms"]
    gain: Tensor
    bias: Tensor | None
    eps: float

    def scale(self, x: Tensor) -> Tensor:
        """s, the divisor that all parts of x share: (..., d_model) -> (..., 1), in the dtype of x."""
        centred = self.centre(x)
        return torch.sqrt(centred.square().mean(-1, keepdim=True) + self.eps)

    def centre(self, x: Tensor) -> Tensor:
        """x less its mean for a LayerNorm, x itself for an RMSNorm: (..., d_model) in and out."""
        return x - x.mean(-1, keepdim=True) if self.kind == "layer" else x


@dataclass(frozen=True)
class Block:
    """One transformer block.

    Attributes:
        attention_output: the projection W_O as a module; its input is the heads concatenated in order.
        w_o: (n_heads, d_head, d_model), W_O split by head, so that a head's part is `a_h @ w_o[h]`.
        w_v: (n_kv_heads, d_model, d_head), W_V split by head; heads that share keys and values share one.
        attention_bias: (d_model,) bias of W_O, or None.
        mlp: the module whose output is added to the residual stream as the MLP part, its own bias included.
        attention_norm: norm of what attention reads, or None.
        attention_post_norm: RMS norm applied to the projection's output before it is added, or None.
        feed_forward: the MLP itself, where `mlp` is the norm after it; else None.
    """

    attention_output: nn.Module
    w_o: Tensor
    w_v: Tensor
    attention_bias: Tensor | None
    mlp: nn.Module
    attention_norm: Norm | None = None
    attention_post_norm: Norm | None = None
    feed_forward: nn.Module | None = None


@dataclass(frozen=True)
class Anatomy:
    """The modules and weights of one model that the decomposition needs.

    Attributes:
        backbone: the model without its unembedding, from token ids to the final norm's output.
        rotary: its rotary embedding where the frequencies depend on a sequence's length, else None.
        first_block: the first block; its input is the embedding part.
        blocks: all blocks in order.
        final_norm: the norm before the unembedding.
        embedding: (n_vocab, d_model), of tokens.
        unembedding: (n_vocab, d_model).
        unembedding_bias: (n_vocab,) or None.
    """

    backbone: nn.Module
    rotary: Rotary | None
    first_block: nn.Module
    blocks: tuple[Block, ...]
    final_norm: Norm
    embedding: Tensor
    unembedding: Tensor
    unembedding_bias: Tensor | None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def n_heads(self) -> int:
        """Heads per block."""
        return self.blocks[0].w_o.shape[0]

    def frequencies_like(self, length: int) -> int:
        """A length whose rotary frequencies are those of `length`; equal for any two lengths that share them."""
        return 0 if self.rotary is None else self.rotary.like(length)

    def as_for(self, length: int) -> AbstractContextManager[None]:
        """Passes inside have the rotary frequencies of a sequence of `length` tokens, whatever part of it they run."""
        return nullcontext() if self.rotary is None else self.rotary.as_for(length)

    @property
    def has_attention_bias(self) -> bool:
        """Whether blocks have an attention output bias, which is a component."""
        return self.blocks[0].attention_bias is not None

    @property
    def device(self) -> torch.device:
        """The device of the unembedding, and so of its projection."""
        return self.unembedding.device


def layer_norm(norm: nn.LayerNorm, device: torch.device | None = None) -> Norm:
    """The `Norm` of a torch LayerNorm; where it has no gain, ones on a device."""
    gain: Tensor | None = norm.weight
    ones = torch.ones(norm.normalized_shape, device=device) if gain is None else gain
    return Norm(module=norm, kind="layer", gain=ones, bias=norm.bias, eps=norm.eps)


def rms_norm(norm: nn.Module) -> Norm:
    """The `Norm` of an RMSNorm of transformers, whose gain is `weight` and whose epsilon is `variance_epsilon`."""
    gain, eps = norm.get_parameter("weight"), norm.variance_epsilon
    assert isinstance(eps, float)
    return Norm(module=norm, kind="rms", gain=gain, bias=None, eps=eps)


def submodule(layer: nn.Module, path: str, kind: type[M]) -> M:
    """The submodule at `path`, which has to be exactly a `kind`.

    Raises:
        UnsupportedModel: it is something else, such as an adapter or a quantised layer, whose weight is not the matrix
            it multiplies by.
    """
    module = layer.get_submodule(path)
    if type(module) is not kind:
        raise UnsupportedModel(
            f"{path} is a {type(module).__name__}, not a plain {kind.__name__}, so its weight cannot be split into "
            "heads; merge adapters into the weights, or load weights that are not quantised"
        )
    return module


def heads_of_linear(weight: Tensor, n_heads: int) -> Tensor:
    """W_O of an `nn.Linear` (d_model, n_heads * d_head), split by head: (n_heads, d_head, d_model)."""
    return heads_of_rows(weight.T, n_heads)


def heads_of_rows(weight: Tensor, n_heads: int) -> Tensor:
    """W_O stored as (n_heads * d_head, d_model), split by head: (n_heads, d_head, d_model).

    Raises:
        UnsupportedModel: the input width is no multiple of the number of heads.
    """
    width, d_model = weight.shape
    if width % n_heads:
        raise UnsupportedModel(
            f"config key num_attention_heads = {n_heads} does not divide the attention output projection's input of "
            f"{width}; only heads of equal width are supported"
        )
    return weight.reshape(n_heads, width // n_heads, d_model)


def values_of_linear(weight: Tensor, n_kv_heads: int) -> Tensor:
    """W_V of an `nn.Linear` (n_kv_heads * d_head, d_model), split by head: (n_kv_heads, d_model, d_head)."""
    return weight.reshape(n_kv_heads, -1, weight.shape[-1]).transpose(1, 2)


def embedding_of(model: PreTrainedModel) -> Tensor:
    """The weight (n_vocab, d_model) of the token embedding."""
    embedding = model.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    return embedding.weight


def unembedding_of(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """The weight (n_vocab, d_model) of the unembedding, and its bias (n_vocab,) or None."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    return head.weight, head.bias
