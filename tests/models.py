"""Random models, folders of checkpoints and plans for tests."""

import json
from pathlib import Path

import torch
from transformers import (
    ApertusConfig,
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoConfig,
    OlmoeConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
)

_EPS = 0.05
"""A norm's epsilon that shows: with the usual 1e-5 a part scaled without it would pass."""


def perturbed(config, seed: int = 0) -> PreTrainedModel:
    """A random float32 model of a config, every parameter moved off its initial value (biases off 0, gains off 1)."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)


def tiny_neox(vocab_size: int, *, parallel: bool, seed: int = 0) -> PreTrainedModel:
    """Two layers, four heads of width 8."""
    return perturbed(_neox_config(vocab_size, parallel=parallel), seed)


def _neox_config(vocab_size: int, *, parallel: bool) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=256,
        layer_norm_eps=_EPS,
        use_parallel_residual=parallel,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        bos_token_id=0,
        eos_token_id=0,
    )


def tiny_suite(root: Path, tokenizer: PreTrainedTokenizerBase, steps: tuple[int, ...] = (0, 4)) -> Path:
    """A folder of tiny GPT-NeoX checkpoints, one random model a step, saved as Hugging Face folders."""
    for step in steps:
        folder = root / f"step{step}"
        tiny_neox(len(tokenizer), parallel=True, seed=step).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return root


def write_plan(path: Path, folder: Path, **changes: object) -> Path:
    """A small plan over a folder of checkpoints: two tasks, two seeds; `changes` replace top-level keys."""
    content: dict[str, object] = {
        "name": "tiny",
        "models": [{"id": "tiny", "folder": str(folder)}],
        "tasks": [
            {"name": "sentiment", "demo_seeds": 2, "n_shots": [4], "n_test": 12, "n_train": 6},
            {"name": "wordmap", "templates": ["plain"], "demo_seeds": [0, 3], "n_shots": [0, 2], "n_test": 12},
        ],
        **changes,
    }
    path.write_text("\n".join(_toml(content)))
    return path


def _toml(content: dict[str, object]) -> list[str]:
    """Just enough TOML for plans: scalars and lists first, then tables and arrays of tables."""
    tables = {
        key: value for key, value in content.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    single = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}" for key, value in content.items() if key not in {**tables, **single}]
    headed = [(f"[{key}]", entry) for key, entry in single.items()]
    headed += [(f"[[{key}]]", entry) for key, entries in tables.items() for entry in entries]
    for header, entry in headed:
        lines += [header, *[f"{name} = {_value(value)}" for name, value in entry.items()]]
    return lines


def _value(value: object) -> str:
    """A TOML value; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


_SPECIAL = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 0}
_GPT2 = {**_SPECIAL, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "layer_norm_epsilon": _EPS}
LLAMA = {
    **_SPECIAL,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "rms_norm_eps": _EPS,
}

_WINDOWED = {**LLAMA, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
_PAD = {"pad_token_id": 0}
_OPT = {
    **_SPECIAL,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}

VARIANTS: dict[str, PreTrainedConfig] = {
    "gpt_neox-parallel": _neox_config(64, parallel=True),
    "gpt_neox-sequential": _neox_config(64, parallel=False),
    "gpt2": GPT2Config(**_GPT2),
    "gpt2-untied": GPT2Config(**_GPT2, n_inner=48, tie_word_embeddings=False),
    "gpt2-mistral": GPT2Config(**_GPT2, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True),
    "llama": LlamaConfig(**LLAMA),
    "llama-tied-wide-heads": LlamaConfig(**LLAMA, tie_word_embeddings=True, head_dim=12),
    "llama-biased": LlamaConfig(**LLAMA, attention_bias=True, mlp_bias=True),
    "mistral-short-window": MistralConfig(**LLAMA, sliding_window=5),
    "mistral-no-window": MistralConfig(**LLAMA, sliding_window=None),
    "olmo2": Olmo2Config(**LLAMA),
    "olmo2-biased": Olmo2Config(**LLAMA, attention_bias=True),
    "olmo": OlmoConfig(**LLAMA, **_PAD),
    "olmo-clipped": OlmoConfig(**LLAMA, **_PAD, clip_qkv=0.5, attention_bias=True, tie_word_embeddings=True),
    "olmo3": Olmo3Config(**_WINDOWED, **_PAD),
    "olmo3-yarn": Olmo3Config(
        **_WINDOWED,
        **_PAD,
        rope_parameters={
            "full_attention": {
                "rope_type": "yarn",
                "rope_theta": 5e5,
                "factor": 8.0,
                "original_max_position_embeddings": 32,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 5e5},
        },
    ),
    "olmoe": OlmoeConfig(**LLAMA, num_experts=4, num_experts_per_tok=2),
    "qwen2": Qwen2Config(**LLAMA),
    "qwen2-short-window": Qwen2Config(**_WINDOWED, use_sliding_window=True, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**LLAMA, head_dim=12),
    "qwen3_moe": Qwen3MoeConfig(
        **LLAMA, head_dim=12, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, mlp_only_layers=[1]
    ),
    "smollm3": SmolLM3Config(**LLAMA, **_PAD, no_rope_layers=[1, 0], tie_word_embeddings=True),
    "gemma": GemmaConfig(**LLAMA, head_dim=12),
    "gemma2": Gemma2Config(
        **_WINDOWED, head_dim=12, final_logit_softcapping=None, attn_logit_softcapping=None, query_pre_attn_scalar=16
    ),
    "gemma3_text": Gemma3TextConfig(**_WINDOWED, **_PAD, head_dim=12, query_pre_attn_scalar=16),
    "phi": PhiConfig(**{**LLAMA, "layer_norm_eps": _EPS}, partial_rotary_factor=0.5),
    "phi-normed-queries": PhiConfig(**{**LLAMA, "layer_norm_eps": _EPS, "num_key_value_heads": 4}, qk_layernorm=True),
    "apertus": ApertusConfig(**LLAMA, **_PAD),
    "opt": OPTConfig(**_OPT),
    "opt-unbiased": OPTConfig(**_OPT, enable_bias=False, layer_norm_elementwise_affine=False),
    "bloom": BloomConfig(**_SPECIAL, hidden_size=32, n_layer=2, n_head=4, layer_norm_epsilon=_EPS),
}
"""Configs of every family, with a vocabulary of 64; window 5 is shorter than the tests' prompts."""
OBSERVED = [name for name in VARIANTS if not name.startswith("bloom")]
"""Variants whose attention can be observed."""
