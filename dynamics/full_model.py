"""The full model's label logits, and nothing of its parts: for prompts that are answered but not decomposed."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from dynamics.decomposition import label_rows, own_logits, relative_error
from dynamics.families import anatomy as find_anatomy
from dynamics.forward.batching import budget_for, in_batches
from dynamics.forward.last_token import last_state, shared_prefix
from dynamics.prompts import PromptSet


@dataclass(frozen=True)
class FullAnswers:
    """What the full model answers.

    Attributes:
        logits: (example, label), float32 label rows of the unembedding times the model's own final-norm output.
        forward_error: their relative distance to the model's own logits on the shortest prompt, run whole, alone and
            unpadded.
    """

    logits: np.ndarray
    forward_error: float


def full_answers(model: PreTrainedModel, prompts: PromptSet, *, token_budget: int | None = None) -> FullAnswers:
    """Run every prompt of a set; equal to the `full` of its decomposition, at the price of one forward pass.

    Args:
        model: a causal language model in eval mode, of a supported family.
        prompts: token ids; those that share nothing are simply run whole.
        token_budget: padded tokens per batch, None to fit free memory; changes speed and memory, not results.

    Raises:
        UnsupportedModel: the family is not covered.
    """
    anatomy = find_anatomy(model)
    rows, bias = label_rows(anatomy, prompts.label_ids)
    prefix = shared_prefix(anatomy, prompts.shared_ids)
    lengths = [len(ids) for ids in prompts.own_ids]

    def answer(group: list[int]) -> tuple[torch.Tensor]:
        last = last_state(anatomy, [prompts.own_ids[i] for i in group], prefix)
        return (last.float() @ rows.T + bias,)

    budget = budget_for(model, token_budget)
    logits = in_batches(answer, lengths, len(prompts.shared_ids), budget)[0].numpy()
    shortest = min(range(len(lengths)), key=lambda i: (lengths[i], i))
    return FullAnswers(logits, relative_error(own_logits(model, prompts, shortest), logits[shortest]))
