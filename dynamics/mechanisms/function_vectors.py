"""Function vectors: does a head's mean output tell the model the task, where the demonstrations do not?

With r_h the mean output of head h at the last token over a unit's prompts, and prompts of the same rows whose
demonstrations have shuffled labels,

    function_vector            mean of p(gold | shuffled, h writes r_h) - p(gold | shuffled)
    function_vector_log        the same of log p, in nats

with p the model's probability of the gold label word among all tokens (Todd et al., arXiv 2310.15213: the average
indirect effect). Probabilities hardly move where the model is far from the answer, as it is early in training: compare
steps by the second. Where labels are the same for many rows, r_h is also an average of answers; `chance` is 0.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.components import Component
from dynamics.families import anatomy as find_anatomy
from dynamics.forward.intervention import Written, replaced
from dynamics.forward.last_token import last_state
from dynamics.forward.prefix import SharedPrefix
from dynamics.forward.prompt_passes import run_prompts
from dynamics.mechanisms.head_scores import HeadScores
from dynamics.mechanisms.measures import FUNCTION_VECTOR, FUNCTION_VECTOR_LOG
from dynamics.prompts import PromptSet


def function_vector_scores(
    model: PreTrainedModel, shuffled: PromptSet, written: Written, *, token_budget: int | None = None
) -> list[HeadScores]:
    """Scores of every head; one pass over the shuffled prompts for each.

    Args:
        model: a causal language model in eval mode, of a supported family.
        shuffled: prompts whose demonstrations have shuffled labels.
        written: mean outputs over prompts whose demonstrations have their own (`dynamics.mechanisms.ablation`).
        token_budget: padded tokens per batch, None to fit free memory.
    """
    parts = find_anatomy(model)
    before = gold_log_probability(model, shuffled, (), written, token_budget=token_budget)
    effects = np.empty((2, parts.n_layers, parts.n_heads, len(before)))
    for layer in range(parts.n_layers):
        for head in range(parts.n_heads):
            component = Component("head", layer, head)
            after = gold_log_probability(model, shuffled, (component,), written, token_budget=token_budget)
            effects[:, layer, head] = np.exp(after) - np.exp(before), after - before
    n = len(before)
    return [
        HeadScores(name, values.mean(-1), values.std(-1, ddof=1) if n > 1 else None, n, 0.0)
        for name, values in zip((FUNCTION_VECTOR, FUNCTION_VECTOR_LOG), effects, strict=True)
    ]


def gold_log_probability(
    model: PreTrainedModel,
    prompts: PromptSet,
    components: Sequence[Component],
    written: Written,
    *,
    token_budget: int | None = None,
) -> np.ndarray:
    """Log probability (example,) of each gold label word among all tokens, these components writing what is given."""
    parts = find_anatomy(model)
    unembedding, bias = parts.unembedding, parts.unembedding_bias
    labels = torch.tensor(prompts.label_ids, device=parts.device)

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[Tensor]:
        inside = replaced(parts, components, written, token_ids)
        logits = (last_state(parts, token_ids, prefix, inside=inside) @ unembedding.T).float()
        logits = logits if bias is None else logits + bias.float()
        return (torch.log_softmax(logits, -1)[:, labels],)

    of_labels = run_prompts(model, parts, prompts, run, token_budget)[0].double().numpy()
    return of_labels[np.arange(len(of_labels)), np.array(prompts.gold)]
