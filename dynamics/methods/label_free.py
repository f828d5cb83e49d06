"""Label-free calibration of the full model: its label probabilities divided by a prior estimated without labels.

    predict the largest p(y | prompt) / prior(y),   prior(y) = mean of p(y | prompt) over some prompts

with p the softmax of the label logits. The methods differ in the prompts that the prior is a mean over, each with the
demonstrations of the scored prompts:

- `contextual_calibration` (Zhao et al., arXiv 2102.09690): texts without content, `CONTENT_FREE`, in place of the row.
- `domain_context_calibration` (Fei et al., arXiv 2305.19187): random words of the task's own texts, of their mean
  length, in place of the row.
  Both are requested by a plan and run by `dynamics.methods.content_free`.
- `batch_calibration` (Zhou et al., arXiv 2309.17249): the scored rows themselves; transductive.

With the mean of logits in place of the logarithm of the mean of probabilities, batch calibration is `centred_full`
(`dynamics.label_bias`), which splits exactly over components.
"""

import numpy as np

from dynamics.methods.calibration import label_probabilities

CONTEXTUAL, DOMAIN_CONTEXT = "contextual_calibration", "domain_context_calibration"
BATCH_CALIBRATION = "batch_calibration"
LABEL_FREE = (CONTEXTUAL, DOMAIN_CONTEXT)
"""Calibrations with prompts of their own, which a plan requests."""
CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts without content (Zhao et al., section 4); the prior is the mean over the three."""
N_DOMAIN_TEXTS = 20
"""Texts of random words (Fei et al., section 3)."""


def prior(logits: np.ndarray) -> np.ndarray:
    """Mean probability of each label: (prompt, label) logits -> (label,)."""
    return label_probabilities(logits).mean(0)


def calibrate(logits: np.ndarray, label_prior: np.ndarray) -> np.ndarray:
    """`log p(y | prompt) - log prior(y)`, of which the largest is predicted: (row, label) in and out, float64."""
    shifted = logits - logits.max(-1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)) - np.log(label_prior)
