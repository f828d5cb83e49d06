"""The nouns a family file fills in: where one model keeps its blocks, norms and unembedding."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


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
    """

    attention_output: nn.Module
    w_o: Tensor
    attention_bias: Tensor | None
    mlp: nn.Module
    attention_post_norm: Norm | None = None


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
        """Where the unembedding, and so the label readout, lives."""
        return self.unembedding.device


def heads_of_linear(weight: Tensor, n_heads: int) -> Tensor:
    """W_O of an `nn.Linear` (d_model, n_heads * d_head) cut by head: (n_heads, d_head, d_model)."""
    return weight.T.reshape(n_heads, -1, weight.shape[0])


def unembedding_of(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """The unembedding's weight (n_vocab, d_model) and bias (n_vocab,) or None, whatever the module is called."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    return head.weight, head.bias
