"""What heads attend to at the last token of few-shot prompts, and what they write towards the labels they attend to.

With A_j the attention of the last token to position j, P_y the positions of the demonstrations' label words of label y,
and `v_j W_O u~ / s` the contribution that a head takes from position j (they sum to its contribution in
`dynamics.decomposition`),

    a_y    = sum over j in P_y of A_j
    C_y'y  = sum over j in P_y' of A_j (v_j W_O u~_y) / s

and over the test rows the means of

    label_attention      sum_y a_y
    gold_attention       a_gold - mean of a_y over the other labels
    predicted_attention  the same for the label that the full model predicts
    demo_text_attention  to all other tokens of the demonstrations
    query_attention      to the tokens after the demonstrations, the last one included
    first_attention      to the first token, wherever it belongs; a resting place of attention
    label_copying        sum_y' (C_y'y' - mean of C_y'y over the other labels y), in logits

Positive `label_copying`: the head raises the labels that it attends to. Negative, `anti-copying`: it lowers them, the
copy suppression of McDougall et al. (arXiv 2310.04625) read for label words.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.decomposition import attention_scale, unembedding_projection
from dynamics.errors import PromptError
from dynamics.families import anatomy as find_anatomy
from dynamics.forward.attention import LayerAttention, observed
from dynamics.forward.last_token import last_token
from dynamics.forward.prefix import SharedPrefix
from dynamics.forward.prompt_passes import run_prompts
from dynamics.mechanisms.head_scores import HeadScores
from dynamics.mechanisms.measures import (
    DEMO_TEXT,
    FIRST,
    GOLD,
    LABEL_ATTENTION,
    LABEL_COPYING,
    OF_LABELS,
    PREDICTED,
    QUERY,
)
from dynamics.prompts import PromptSet


def label_attention_scores(
    model: PreTrainedModel, prompts: PromptSet, predicted: np.ndarray, *, token_budget: int | None = None
) -> list[HeadScores]:
    """Scores of every head on the test rows of a prompt set with demonstrations.

    Args:
        model: a causal language model in eval mode, of a supported family.
        prompts: token ids.
        predicted: (example,) index of the label that the full model predicts.
        token_budget: padded tokens per batch, None to fit free memory.

    Raises:
        PromptError: the positions of the demonstrations' label words are not known.
    """
    test = np.array([split == "test" for split in prompts.split])
    per_label, rest = label_attention(model, prompts, token_budget=token_budget)
    per_label, rest = per_label[test], rest[test]
    values = {
        LABEL_ATTENTION: per_label.sum(-1),
        GOLD: _less_others(per_label, np.array(prompts.gold)[test]),
        PREDICTED: _less_others(per_label, predicted[test]),
        **{name: rest[..., i] for i, name in enumerate((DEMO_TEXT, QUERY, FIRST, LABEL_COPYING))},
    }
    n = int(test.sum())
    return [
        HeadScores(name, values[name].mean(0), values[name].std(0, ddof=1) if n > 1 else None, n) for name in OF_LABELS
    ]


def label_attention(
    model: PreTrainedModel, prompts: PromptSet, *, token_budget: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Attention to label words (example, layer, head, label), and the other measures (example, layer, head, 4).

    The four are demo_text_attention, query_attention, first_attention and label_copying. Arguments as above.
    """
    if not prompts.demo_labels:
        raise PromptError(
            f"{prompts.task}/{prompts.template} at {prompts.n_shots_used} shots: attention to label words needs "
            "demonstrations whose label words are tokens of their own; give n_shots of 1 or more, or another template"
        )
    parts = find_anatomy(model)
    projection = unembedding_projection(parts, prompts.label_ids)
    at, labels = (torch.tensor(values, device=parts.device) for values in zip(*prompts.demo_labels, strict=True))
    n_shared, end_of_demos, n_labels = len(prompts.shared_ids), int(at.max()) + 1, len(prompts.label_ids)
    one_hot = torch.nn.functional.one_hot(labels, n_labels).float()

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[Tensor, Tensor]:
        last = torch.tensor([len(ids) - 1 for ids in token_ids], device=parts.device)
        n_keys = n_shared + max(map(len, token_ids))
        shape = (len(token_ids), parts.n_layers, parts.n_heads)
        per_label = torch.zeros(*shape, n_labels, device=parts.device)
        rest = torch.zeros(*shape, 4, device=parts.device)

        def observe(attention: LayerAttention) -> None:
            weights = attention.weights(last)
            dropped = n_keys - weights.shape[-1]  # keys before a sliding window
            seen = at >= dropped
            on_labels = weights[..., at[seen] - dropped]
            layer = attention.layer
            per_label[:, layer] = on_labels @ one_hot[seen]
            demos = weights[..., : max(end_of_demos - dropped, 0)].sum(-1)
            rest[:, layer, :, 0] = demos - on_labels.sum(-1)
            rest[:, layer, :, 1] = weights[..., max(end_of_demos - dropped, 0) :].sum(-1)
            rest[:, layer, :, 2] = weights[..., 0] if dropped == 0 else 0
            shared_values = attention.value[0, :, at[seen] - dropped]  # the same for all examples
            written = written_towards(shared_values, projection.heads[layer])
            others = (written.sum(-1) - (own := (written * one_hot[seen]).sum(-1))) / (n_labels - 1)
            rest[:, layer, :, 3] = (on_labels * (own - others)).sum(-1)

        with observed(model, observe):
            state = last_token(parts, token_ids, prefix)
        scale = parts.final_norm.scale(state.residual.float()).view(-1, 1, 1)
        rest[..., 3] /= scale * attention_scale(parts, state)[..., 0]
        return per_label, rest

    per_label, rest = run_prompts(model, parts, prompts, run, token_budget)
    return per_label.double().numpy(), rest.double().numpy()


def written_towards(values: Tensor, heads: Tensor) -> Tensor:
    """What heads write towards each label from each key position when they attend to it alone, before division by s.

    Args:
        values: (..., key head, key position, d_head), as in `LayerAttention.value`.
        heads: (head, d_head, label), a layer of `UnembeddingProjection.heads`.

    Returns:
        (..., head, key position, label), float32.
    """
    n_sharing = len(heads) // values.shape[-3]
    return values.float().repeat_interleave(n_sharing, -3) @ heads


def _less_others(per_label: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Attention to one label's words less the mean over the others': (example, layer, head, label) -> (..., head)."""
    own = np.take_along_axis(per_label, chosen[:, None, None, None], -1)[..., 0]
    return own - (per_label.sum(-1) - own) / (per_label.shape[-1] - 1)
