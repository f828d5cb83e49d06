"""Label logits split exactly into the contributions of heads, MLPs, the embedding and attention biases.

For a residual stream `x = sum_j z_j` at the last prompt token and a final norm with gain g and bias b,

    logit_y = sum_j (z_j . u~_y) / s + U_y . b,     u_y = g * U_y,  u~_y = u_y - mean(u_y),  s = sqrt(Var(x) + eps)

where U_y is the unembedding row of label word y and s comes from the full residual (an RMS norm neither centres u nor
subtracts the mean in s). A head's part is `a_h W_O[h]`, so its contribution is `a_h . (W_O[h] u~_y) / s`: the vector
in brackets is computed once, and no d_model vector per head is ever built. (Paper, section 3.)
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.components import Component, component_grid
from dynamics.families import anatomy as find_anatomy
from dynamics.families.anatomy import Anatomy, Block
from dynamics.families.rotary import Rotary
from dynamics.forward.last_token import LastToken, last_token
from dynamics.forward.prefix import SharedPrefix
from dynamics.forward.prompt_passes import run_prompts
from dynamics.forward.rerun import prompts_to_rerun
from dynamics.prompts import PromptSet


@dataclass(frozen=True)
class Decomposition:
    """The contribution of each component to each label logit of each example, float32.

    Attributes:
        components: the component axis.
        contributions: (example, component, label).
        constant: (label,), the term that belongs to no component: `U_y . b`, plus an unembedding bias.
        full: (example, label), float32 label rows of the unembedding times the model's own final-norm output.
        error: `max |sum of parts - full| / max(1, max |full|)`.
        forward_error: the same distance between `full` and the model's own logits on some prompts, each run whole,
            alone and unpadded: what batching, padding and the shared prefix change. These are the longest, the
            shortest, some in the middle of batches and some drawn at random, 3 to 12 (`prompts_to_rerun`).
    """

    components: tuple[Component, ...]
    contributions: np.ndarray
    constant: np.ndarray
    full: np.ndarray
    error: float
    forward_error: float

    def __post_init__(self) -> None:
        n_examples, n_components, n_labels = self.contributions.shape
        if (n_components, (n_examples, n_labels), (n_labels,)) != (
            len(self.components),
            self.full.shape,
            self.constant.shape,
        ):
            raise ValueError(
                f"contributions have shape {self.contributions.shape}, full {self.full.shape}, constant "
                f"{self.constant.shape}, for {len(self.components)} components; give (example, component, label), "
                "(example, label) and (label,)"
            )


@dataclass(frozen=True)
class UnembeddingProjection:
    """The unembedding of a set of label words, taken back through the final norm and each head's W_O.

    It maps the parts of a residual stream to their contributions; computed once per checkpoint and set of label words.

    Attributes:
        direction: (d_model, label), u~_y.
        heads: (layer, n_heads, d_head, label), `W_O[h] u~_y`, with a post-norm's gain folded in.
        attention_bias: (layer, label) or None.
        constant: (label,).
        rows: (label, d_model), U_y.
        row_bias: (label,), the unembedding's own bias, or zero.
    """

    direction: Tensor
    heads: Tensor
    attention_bias: Tensor | None
    constant: Tensor
    rows: Tensor
    row_bias: Tensor


Projections = MutableMapping[tuple[int, ...], UnembeddingProjection]
"""Label ids -> the unembedding projection of one model."""


def decompose(
    model: PreTrainedModel,
    prompts: PromptSet,
    *,
    token_budget: int | None = None,
    projections: Projections | None = None,
) -> Decomposition:
    """Decomposition of the label logits of every example of a prompt set.

    Args:
        model: a causal language model in eval mode, of a supported family.
        prompts: token ids of the shared demonstrations and of each example.
        token_budget: padded tokens per batch, None to fit free memory; changes speed and memory, not results.
        projections: cache of this model's unembedding projections, filled here and reused for prompt sets with the
            same label words.

    Raises:
        UnsupportedModel: the model's family is not supported.
    """
    prompts.check_vocabulary(model.config.vocab_size)
    anatomy = find_anatomy(model)
    projections = {} if projections is None else projections
    if prompts.label_ids not in projections:
        projections[prompts.label_ids] = unembedding_projection(anatomy, prompts.label_ids)
    projection = projections[prompts.label_ids]

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[Tensor, Tensor]:
        return split_logits(anatomy, projection, last_token(anatomy, token_ids, prefix))

    results = run_prompts(model, anatomy, prompts, run, token_budget)
    contributions, full = (result.numpy() for result in results)
    constant = projection.constant.cpu().numpy()
    return Decomposition(
        components=component_grid(anatomy.n_layers, anatomy.n_heads, attention_bias=anatomy.has_attention_bias),
        contributions=contributions,
        constant=constant,
        full=full,
        error=relative_error(contributions.sum(1, dtype=np.float64) + constant, full),
        forward_error=distance_to_model(model, prompts, full),
    )


def unembedding_projection(anatomy: Anatomy, label_ids: tuple[int, ...]) -> UnembeddingProjection:
    """The unembedding projection of a set of label words, in float32."""
    norm = anatomy.final_norm
    rows, row_bias = label_rows(anatomy, label_ids)
    direction = norm.centre(rows * norm.gain.float()).T
    constant = row_bias if norm.bias is None else rows @ norm.bias.float() + row_bias
    biases = [_project(block, direction, b) for block in anatomy.blocks if (b := block.attention_bias) is not None]
    return UnembeddingProjection(
        direction=direction,
        heads=torch.stack([_project(block, direction, block.w_o) for block in anatomy.blocks]),
        attention_bias=torch.stack(biases) if biases else None,
        constant=constant,
        rows=rows,
        row_bias=row_bias,
    )


def label_rows(anatomy: Anatomy, label_ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Unembedding rows (label, d_model) and biases (label,) of label words, in float32; zero where it has no bias."""
    rows = anatomy.unembedding[list(label_ids)].float()
    bias = anatomy.unembedding_bias
    return rows, torch.zeros_like(rows[:, 0]) if bias is None else bias[list(label_ids)].float()


def split_logits(anatomy: Anatomy, projection: UnembeddingProjection, last: LastToken) -> tuple[Tensor, Tensor]:
    """Contributions (example, component, label) and full label logits (example, label) of one batch, in float32."""
    n_examples, n_layers, _ = last.heads.shape
    scale = anatomy.final_norm.scale(last.residual.float()).view(n_examples, 1, 1, 1)
    attention = attention_scale(anatomy, last)
    heads = last.heads.float().view(n_examples, n_layers, anatomy.n_heads, -1)
    layer = [
        torch.einsum("elhd,lhdy->elhy", heads, projection.heads) / attention,
        (last.mlps.float() @ projection.direction).unsqueeze(2),
    ]
    if projection.attention_bias is not None:
        layer.append(projection.attention_bias.unsqueeze(1) / attention)
    embedding = (last.embedding.float() @ projection.direction).unsqueeze(1)
    layers = torch.cat(layer, 2).flatten(1, 2)
    contributions = torch.cat([embedding, layers], 1) / scale.squeeze(1)
    return contributions, last.normed.float() @ projection.rows.T + projection.row_bias


def relative_error(parts: np.ndarray, whole: np.ndarray) -> float:
    """`max |parts - whole| / max(1, max |whole|)`; NaN where either holds a NaN."""
    return float(np.abs(parts - whole).max() / np.maximum(1.0, np.abs(whole).max()))


def distance_to_model(model: PreTrainedModel, prompts: PromptSet, full: np.ndarray) -> float:
    """Relative distance of label logits `full` (example, label) to the model's own on `prompts_to_rerun`."""
    chosen, rotary = prompts_to_rerun(prompts), find_anatomy(model).rotary
    return relative_error(np.stack([_own_logits(model, rotary, prompts, i) for i in chosen]), full[chosen])


def model_logits(model: PreTrainedModel, prompts: PromptSet, example: int) -> np.ndarray:
    """The model's own label logits (label,) on one prompt, run whole and unpadded by its ordinary forward pass."""
    return _own_logits(model, find_anatomy(model).rotary, prompts, example)


def _own_logits(model: PreTrainedModel, rotary: Rotary | None, prompts: PromptSet, example: int) -> np.ndarray:
    token_ids = torch.tensor([prompts.token_ids(example)], device=model.device)
    with torch.inference_mode():
        if rotary is not None:
            rotary.forget()
        logits = model(input_ids=token_ids, use_cache=False, logits_to_keep=1).logits[0, -1]
    return logits[list(prompts.label_ids)].float().cpu().numpy()


def _project(block: Block, direction: Tensor, weight: Tensor) -> Tensor:
    """A weight (..., d_model) of the block's attention along each label direction, a post-norm's gain folded in.

    Returns:
        (..., label).
    """
    post = block.attention_post_norm
    return weight.float() @ (direction if post is None else direction * post.gain.float()[:, None])


def attention_scale(anatomy: Anatomy, last: LastToken) -> Tensor:
    """The divisor of each block's attention post-norm, 1 where there is none: (example, layer, 1, 1)."""
    if last.projected is None:
        return last.heads.new_ones(len(last.heads), anatomy.n_layers, 1, 1, dtype=torch.float32)
    scales = [
        block.attention_post_norm.scale(last.projected[:, i].float())
        for i, block in enumerate(anatomy.blocks)
        if block.attention_post_norm is not None
    ]
    return torch.stack(scales, 1).unsqueeze(-1)
