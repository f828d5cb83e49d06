"""Label logits of the full model alone, for prompts that are not decomposed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from dynamics.decomposition import distance_to_model, label_rows
from dynamics.families import anatomy as find_anatomy
from dynamics.forward.last_token import last_state
from dynamics.forward.prefix import SharedPrefix
from dynamics.forward.prompt_passes import run_prompts
from dynamics.prompts import PromptSet


@dataclass(frozen=True)
class FullLogits:
    """Label logits of the full model.

    Attributes:
        logits: (example, label), float32 label rows of the unembedding times the model's own final-norm output.
        forward_error: relative distance of `logits` to the model's own on some prompts, run whole, alone and unpadded,
            as `Decomposition` has it.
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

    def run(token_ids: Sequence[Sequence[int]], prefix: SharedPrefix | None) -> tuple[torch.Tensor]:
        last = last_state(anatomy, token_ids, prefix)
        return (last.float() @ rows.T + bias,)

    logits = run_prompts(model, anatomy, prompts, run, token_budget)[0].numpy()
    return FullLogits(logits, distance_to_model(model, prompts, logits))
