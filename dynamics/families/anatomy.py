"""The nouns a family file fills in: where one model keeps its blocks, norms and unembedding."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dynamics.errors import UnsupportedModel

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Norm:
    """A norm `gain * (x - mean(x) if centred else x) / s + bias`.

    Attributes:
        module: the module, whose input is what it normalises.
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
        """x less its mean for a LayerNorm, x itself for an RMSNorm."""
        return x - x.mean(-1, keepdim=True) if self.kind == "layer" else x


@dataclass(frozen=True)
class Block:
    """One transformer block.

    Attributes:
        attention_output: the projection W_O as a module; its input is the heads concatenated in order.
        w_o: (n_heads, d_head, d_model), W_O cut by head, so that a head's part is `a_h @ w_o[h]`.
        attention_bias: (d_model,) bias of W_O, or None.
        mlp: the module whose output is added to the residual stream as the MLP part, its own bias included.
        attention_post_norm: RMS norm applied to the projection's output before it is added, or None.
        feed_forward: where the MLP's own work begins, if `mlp` is only the norm after it.
    """

    attention_output: nn.Module
    w_o: Tensor
    attention_bias: Tensor | None
    mlp: nn.Module
    attention_post_norm: Norm | None = None
    feed_forward: nn.Module | None = None


@dataclass(frozen=True)
class Anatomy:
    """Where one model keeps what the decomposition needs.

    Attributes:
        backbone: maps token ids to the final norm's output; has no unembedding.
        first_block: the module whose input is the embedding part.
        blocks: in order.
        final_norm: the norm before the unembedding.
        unembedding: (n_vocab, d_model).
        unembedding_bias: (n_vocab,) or None.
    """

    backbone: nn.Module
    first_block: nn.Module
    blocks: tuple[Block, ...]
    final_norm: Norm
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

    @property
    def has_attention_bias(self) -> bool:
        """Whether blocks have an attention output bias, a part of its own."""
        return self.blocks[0].attention_bias is not None

    @property
    def device(self) -> torch.device:
        """Where the unembedding, and so the label projection, lives."""
        return self.unembedding.device


def layer_norm(norm: nn.LayerNorm) -> Norm:
    """A torch LayerNorm."""
    return Norm(module=norm, kind="layer", gain=norm.weight, bias=norm.bias, eps=norm.eps)


def rms_norm(norm: nn.Module) -> Norm:
    """An RMSNorm of transformers, which keeps its gain as `weight` and its epsilon as `variance_epsilon`."""
    gain, eps = norm.get_parameter("weight"), norm.variance_epsilon
    assert isinstance(eps, float)
    return Norm(module=norm, kind="rms", gain=gain, bias=None, eps=eps)


def part(layer: nn.Module, path: str, kind: type[M]) -> M:
    """The submodule at `path`, which must be exactly a `kind`.

    Raises:
        UnsupportedModel: it is something else, such as an adapter or a quantised layer, whose weight is not the matrix
            it multiplies by.
    """
    module = layer.get_submodule(path)
    if type(module) is not kind:
        raise UnsupportedModel(
            f"{path} is a {type(module).__name__}, not a plain {kind.__name__}, so its heads cannot be told apart; "
            "merge adapters into the weights, or load weights that are not quantised"
        )
    return module


def heads_of_linear(weight: Tensor, n_heads: int) -> Tensor:
    """W_O of an `nn.Linear` (d_model, n_heads * d_head) cut by head: (n_heads, d_head, d_model)."""
    return heads_of_rows(weight.T, n_heads)


def heads_of_rows(weight: Tensor, n_heads: int) -> Tensor:
    """W_O stored as (n_heads * d_head, d_model) cut by head: (n_heads, d_head, d_model).

    Raises:
        UnsupportedModel: the heads' widths differ.
    """
    width, d_model = weight.shape
    if width % n_heads:
        raise UnsupportedModel(
            f"config key num_attention_heads = {n_heads} does not divide the attention output projection's input of "
            f"{width}; only heads of equal width are covered"
        )
    return weight.reshape(n_heads, width // n_heads, d_model)


def unembedding_of(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """The unembedding's weight (n_vocab, d_model) and bias (n_vocab,) or None, whatever the module is called."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    return head.weight, head.bias
