"""Label logits of the full model alone, for prompts that are not decomposed."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from dynamics.decomposition import label_rows, model_logits, relative_error
from dynamics.families import anatomy as find_anatomy
from dynamics.forward.batching import budget_for, in_batches
from dynamics.forward.last_token import last_state, shared_prefix
from dynamics.prompts import PromptSet


@dataclass(frozen=True)
class FullLogits:
    """Label logits of the full model.

    Attributes:
        logits: (example, label), float32 label rows of the unembedding times the model's own final-norm output.
        forward_error: relative distance of `logits` to the model's own on the shortest prompt, run whole, alone and
            unpadded.
    """

    logits: np.ndarray
    forward_error: float


def full_logits(model: PreTrainedModel, prompts: PromptSet, *, token_budget: int | None = None) -> FullLogits:
    """Label logits of every prompt of a set: the `full` of its decomposition, for the cost of a forward pass only.

    Args:
        model: a causal language model in eval mode, of a supported family.
        prompts: token ids; prompts without a shared prefix are run whole.
        token_budget: padded tokens per batch, None to fit free memory; changes speed and memory, not results.

    Raises:
        UnsupportedModel: the model's family is not supported.
    """
    prompts.check_vocabulary(model.config.vocab_size)
    anatomy = find_anatomy(model)
    rows, bias = label_rows(anatomy, prompts.label_ids)
    prefix = shared_prefix(anatomy, prompts.shared_ids)
    lengths = [len(ids) for ids in prompts.own_ids]

    def run(batch: list[int]) -> tuple[torch.Tensor]:
        last = last_state(anatomy, [prompts.own_ids[i] for i in batch], prefix)
        return (last.float() @ rows.T + bias,)

    budget = budget_for(model, token_budget)
    logits = in_batches(run, lengths, len(prompts.shared_ids), budget)[0].numpy()
    shortest = min(range(len(lengths)), key=lambda i: (lengths[i], i))
    return FullLogits(logits, relative_error(model_logits(model, prompts, shortest), logits[shortest]))
