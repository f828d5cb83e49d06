"""Random models, folders of checkpoints and plans for tests."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedModel, PreTrainedTokenizerBase


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
    tables = {key: value for key, value in content.items() if isinstance(value, list) and isinstance(value[0], dict)}
    single = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in content.items() if key not in {**tables, **single}]
    headed = [(f"[{key}]", entry) for key, entry in single.items()]
    headed += [(f"[[{key}]]", entry) for key, entries in tables.items() for entry in entries]
    for header, entry in headed:
        lines += [header, *[f"{name} = {json.dumps(value)}" for name, value in entry.items()]]
    return lines
