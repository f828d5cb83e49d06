"""OLMo-2: outputs of attention and MLP are normalised before they are added to the residual stream.

With o the attention output projection's result, g its post-norm's gain and `s_attn = sqrt(mean(o^2) + eps)`, attention
adds `g * o / s_attn`, and o is the sum of its heads (and of its bias, where the config has one). So a head adds
`g * (a_h W_O[h]) / s_attn`, where s_attn differs by example and layer. The MLP part is its post-norm's output.
"""

from torch import nn
from transformers import Olmo2ForCausalLM, Olmo3ForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy, Block, heads_of_linear, submodule, values_of_linear
from dynamics.families.llama import MakeNorm


def anatomy(model: Olmo2ForCausalLM | Olmo3ForCausalLM) -> Anatomy:
    """Parts of an `Olmo2ForCausalLM`."""
    return llama.anatomy(model, block)


def block(layer: nn.Module, n_heads: int, n_kv_heads: int, norm: MakeNorm) -> Block:
    """Parts of a layer with norms after attention and MLP, and none before."""
    o_proj = submodule(layer, "self_attn.o_proj", nn.Linear)
    return Block(
        attention_output=o_proj,
        w_o=heads_of_linear(o_proj.weight, n_heads),
        w_v=values_of_linear(submodule(layer, "self_attn.v_proj", nn.Linear).weight, n_kv_heads),
        attention_bias=o_proj.bias,
        mlp=layer.get_submodule("post_feedforward_layernorm"),
        attention_post_norm=norm(layer.get_submodule("post_attention_layernorm")),
        feed_forward=layer.get_submodule("mlp"),
    )
