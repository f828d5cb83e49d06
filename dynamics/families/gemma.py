"""Gemma: the modules of Llama; an RMSNorm multiplies by 1 + weight, and embeddings are scaled by sqrt(d_model).

The embedding part is what the first block reads, so it has that factor.
"""

from torch import nn
from transformers import Gemma2ForCausalLM, Gemma3ForCausalLM, GemmaForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy, Norm
from dynamics.families.llama import MakeBlock


def anatomy(model: GemmaForCausalLM | Gemma2ForCausalLM | Gemma3ForCausalLM, block: MakeBlock = llama.block) -> Anatomy:
    """Parts of a `GemmaForCausalLM`; `block` makes the parts of a layer."""
    return llama.anatomy(model, block, _norm)


def _norm(norm: nn.Module) -> Norm:
    weight, eps = norm.get_parameter("weight"), norm.eps
    assert isinstance(eps, float)
    return Norm(module=norm, kind="rms", gain=1 + weight.float(), bias=None, eps=eps)
