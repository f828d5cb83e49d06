"""The full model's label logits, and nothing of its parts: for prompts that are answered but not decomposed."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from dynamics.decomposition import label_rows, own_logits, relative_error
from dynamics.families import anatomy as find_anatomy
from dynamics.forward import batches, hidden_states, shared_prefix
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


def full_answers(model: PreTrainedModel, prompts: PromptSet, *, token_budget: int = 16_384) -> FullAnswers:
    """Run every prompt of a set; equal to the `full` of its decomposition, at the price of one forward pass.

    Args:
        model: a causal language model in eval mode, of a supported family.
        prompts: token ids; those that share nothing are simply run whole.
        token_budget: padded tokens per batch; changes speed and memory, not results.

    Raises:
        UnsupportedModel: the family is not covered.
    """
    anatomy = find_anatomy(model)
    rows, bias = label_rows(anatomy, prompts.label_ids)
    prefix = shared_prefix(anatomy, prompts.shared_ids)
    groups = batches([len(ids) for ids in prompts.own_ids], len(prompts.shared_ids), token_budget)
    answered = []
    for group in groups:
        own = [prompts.own_ids[i] for i in group]
        last = torch.tensor([len(ids) - 1 for ids in own])
        normed = hidden_states(anatomy, own, prefix)[torch.arange(len(own)), last]
        answered.append(normed.float() @ rows.T + bias)
    logits = torch.cat(answered).cpu().numpy()[np.argsort(np.concatenate(groups))]
    shortest = groups[-1][-1]
    return FullAnswers(logits, relative_error(own_logits(model, prompts, shortest), logits[shortest]))
