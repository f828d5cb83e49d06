"""Random models for tests."""

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedModel


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
    return perturbed(
        GPTNeoXConfig(
            vocab_size=vocab_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=256,
            use_parallel_residual=parallel,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
            bos_token_id=0,
            eos_token_id=0,
        ),
        seed,
    )
