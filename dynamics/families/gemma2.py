"""Gemma-2: norms before and after attention and MLP; published models cap their logits, which is refused.

What is added is the output of the norm after attention or MLP, as in OLMo-2, which says how heads are split there.
"""

from dataclasses import replace

from torch import nn
from transformers import Gemma2ForCausalLM, Gemma3ForCausalLM

from dynamics.families import gemma, olmo2
from dynamics.families.anatomy import Anatomy, Block
from dynamics.families.llama import MakeNorm


def anatomy(model: Gemma2ForCausalLM | Gemma3ForCausalLM) -> Anatomy:
    """Parts of a `Gemma2ForCausalLM`."""
    return gemma.anatomy(model, _block)


def _block(layer: nn.Module, n_heads: int, n_kv_heads: int, norm: MakeNorm) -> Block:
    after = olmo2.block(layer, n_heads, n_kv_heads, norm)
    return replace(after, attention_norm=norm(layer.get_submodule("input_layernorm")))
