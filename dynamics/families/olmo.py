"""OLMo (the first): the modules of Llama with a LayerNorm that has neither gain nor bias.

`clip_qkv` bounds queries, keys and values before attention: it changes what heads write, not that it is added. The
product W_V W_O then no longer is what a head does to a value beyond the bound.
"""

from functools import partial

import torch
from torch import nn
from transformers import OlmoForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy, Norm

_EPS = 1e-5
"""Written out in the forward pass of transformers' `OlmoLayerNorm`; no config key sets it."""


def anatomy(model: OlmoForCausalLM) -> Anatomy:
    """Parts of an `OlmoForCausalLM`."""
    ones = torch.ones(model.config.hidden_size, device=model.device)
    return llama.anatomy(model, norm=partial(_norm, ones))


def _norm(ones: torch.Tensor, norm: nn.Module) -> Norm:
    return Norm(module=norm, kind="layer", gain=ones, bias=None, eps=_EPS)
