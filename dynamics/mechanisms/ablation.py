"""Causal effect of components: what the full model answers when they write their mean over the unit's rows, or nothing.

A contribution to a logit is a direct effect. With m the margin of a row (gold label's logit less the largest other),
for a component c of contribution g_c,

    direct effect  mean over rows of m(full) - m(full - g_c + mean of g_c)
    total effect   mean over rows of m(full) - m(full model run again with c's output replaced)

In the first, later layers and the norm's scale stay as they were. Both are positive where the component helps. Where
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
from dynamics.decomposition import Decomposition, label_rows
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


def mean_written(model: PreTrainedModel, prompts: PromptSet, *, token_budget: int | None = None) -> Written:
    """The mean over all rows of what heads and MLPs write at the last token, in float32."""
    parts = find_anatomy(model)

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[Tensor, Tensor]:
        state = last_token(parts, token_ids, prefix)
        return state.heads.float(), state.mlps.float()

    heads, mlps = run_prompts(model, parts, prompts, run, token_budget)
    return Written(*(values.mean(0, dtype=torch.float64).float().to(parts.device) for values in (heads, mlps)))


def ablate(
    model: PreTrainedModel,
    prompts: PromptSet,
    split: Decomposition,
    components: Sequence[Component],
    written: Written,
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
        written: from `mean_written`; with `zero`, only its shapes are used.
        replacement: `mean` or `zero`.
        token_budget: padded tokens per batch, None to fit free memory.
    """
    parts = find_anatomy(model)
    by = written if replacement == MEAN else Written(*(torch.zeros_like(v) for v in (written.heads, written.mlps)))
    chosen = [split.components.index(component) for component in components]
    own = split.contributions[:, chosen].astype(np.float64)
    instead = own.mean(0, keepdims=True) if replacement == MEAN else 0.0
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
