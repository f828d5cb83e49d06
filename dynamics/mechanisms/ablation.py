"""Causal effect of components: what the full model answers when they write their mean over the unit's rows, or nothing.

A contribution to a logit is a direct effect. With m the margin of a row (gold label's logit less the largest other),
for a component c of contribution g_c,

    direct effect  mean over rows of m(full) - m(full - g_c + g'_c)   g'_c the contribution of what replaces c's output
    total effect   mean over rows of m(full) - m(full model run again with c's output replaced)

In the first, later layers and the norm's scale stay as they were, so that a component which writes the same vector at
every row has neither effect by its mean, whatever the scales. Both are positive where the component helps. Where
later components make up for an ablated one, the total effect is the smaller: `self-repair = direct - total` (Rushing
and Nanda, arXiv 2402.15390). Mean ablation replaces a component's output at the last token by its mean over all rows of
the unit, zero ablation by zero; direct effects are relative to the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.components import Component
from dynamics.decomposition import Decomposition, attention_scale, label_rows, unembedding_projection
from dynamics.families import anatomy as find_anatomy
from dynamics.families.anatomy import Anatomy
from dynamics.forward.intervention import Written, replaced
from dynamics.forward.last_token import last_state, last_token
from dynamics.forward.prefix import SharedPrefix
from dynamics.forward.prompt_passes import run_prompts
from dynamics.prompts import PromptSet
from dynamics.scores import margin

MEAN, ZERO = "mean", "zero"


@dataclass(frozen=True)
class Ablated:
    """The full model's answers without some components.

    Attributes:
        components: those replaced.
        replacement: `mean` or `zero`.
        full: (example, label) logits with them replaced.
        direct: (example, label) logits with their contributions replaced and all else as it was.
    """

    components: tuple[Component, ...]
    replacement: str
    full: np.ndarray
    direct: np.ndarray


@dataclass(frozen=True)
class MeanOutputs:
    """Means over all rows of a unit of what heads and MLPs write at the last token, in float32.

    Attributes:
        written: the means.
        contributions: (example, candidate, label) of the means at each row's own scale of the norms; candidates are the
            heads and MLPs in the order of the component axis.
    """

    written: Written
    contributions: np.ndarray


def mean_outputs(model: PreTrainedModel, prompts: PromptSet, *, token_budget: int | None = None) -> MeanOutputs:
    """What heads and MLPs write at the last token, a mean over all rows of a prompt set; one pass over it."""
    parts = find_anatomy(model)

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[Tensor, ...]:
        state = last_token(parts, token_ids, prefix)
        scale = parts.final_norm.scale(state.residual.float())
        return state.heads.float(), state.mlps.float(), scale, attention_scale(parts, state)

    heads, mlps, scale, attention = run_prompts(model, parts, prompts, run, token_budget)
    written = Written(*(values.mean(0, dtype=torch.float64).float().to(parts.device) for values in (heads, mlps)))
    projection = unembedding_projection(parts, prompts.label_ids)
    by_head = written.heads.view(*projection.heads.shape[:3])
    of_heads = torch.einsum("lhd,lhdy->lhy", by_head, projection.heads).cpu() / attention
    of_mlps = (written.mlps @ projection.direction).cpu().unsqueeze(1).expand(len(scale), -1, -1, -1)
    contributions = torch.cat([of_heads, of_mlps], 2).flatten(1, 2) / scale.unsqueeze(-1)
    return MeanOutputs(written, contributions.double().numpy())


def ablate(
    model: PreTrainedModel,
    prompts: PromptSet,
    split: Decomposition,
    components: Sequence[Component],
    means: MeanOutputs,
    *,
    replacement: str = MEAN,
    token_budget: int | None = None,
) -> Ablated:
    """Run the prompts with some components replaced.

    Args:
        model: a causal language model in eval mode, of a supported family.
        prompts: token ids.
        split: their decomposition.
        components: heads and MLPs to replace, together.
        means: from `mean_outputs`; with `zero`, only their shapes are used.
        replacement: `mean` or `zero`.
        token_budget: padded tokens per batch, None to fit free memory.
    """
    parts = find_anatomy(model)
    written = means.written
    by = written if replacement == MEAN else Written(*(torch.zeros_like(v) for v in (written.heads, written.mlps)))
    chosen = [split.components.index(component) for component in components]
    own = split.contributions[:, chosen].astype(np.float64)
    candidates = [component for component in split.components if component.is_candidate]
    instead = means.contributions[:, [candidates.index(c) for c in components]] if replacement == MEAN else 0.0
    return Ablated(
        components=tuple(components),
        replacement=replacement,
        full=_logits(model, parts, prompts, components, by, token_budget),
        direct=split.full - (own - instead).sum(1),
    )


def effect(gold: np.ndarray, full: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Margins (row,) of the full model less those without a component, in logits; positive where it helps."""
    return margin(full.astype(np.float64), gold) - margin(without.astype(np.float64), gold)


def _logits(
    model: PreTrainedModel,
    parts: Anatomy,
    prompts: PromptSet,
    components: Sequence[Component],
    by: Written,
    token_budget: int | None,
) -> np.ndarray:
    rows, bias = label_rows(parts, prompts.label_ids)

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[Tensor]:
        state = last_state(parts, token_ids, prefix, inside=replaced(parts, components, by, token_ids))
        return (state.float() @ rows.T + bias,)

    return run_prompts(model, parts, prompts, run, token_budget)[0].numpy()
