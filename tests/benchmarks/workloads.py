"""Pythia's shapes with random weights, real few-shot prompts, and the plain pass that all is compared with."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedModel

from dynamics.forward.batching import batches
from dynamics.prompts import PromptSet, build_prompts
from dynamics.tasks import get_task
from tests.real_rows import neox_tokenizer, real_rows

SHAPES = {
    "70m": (6, 8, 512),
    "160m": (12, 12, 768),
    "410m": (24, 16, 1024),
    "1b": (16, 8, 2048),
    "1.4b": (24, 16, 2048),
}
"""Layers, heads and width."""
TOKENS = 4_096
"""Padded tokens of a batch, for every method."""


def neox_config(n_layers: int, n_heads: int, d_model: int, vocab_size: int = 50_304) -> GPTNeoXConfig:
    """As Pythia's."""
    return GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        max_position_embeddings=2048,
        use_parallel_residual=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    )


def model_of(config: GPTNeoXConfig) -> PreTrainedModel:
    """Drawn weights, float32."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)


@cache
def pythia(size: str) -> PreTrainedModel:
    """One of `SHAPES`; cached, since initialisation takes seconds."""
    return model_of(neox_config(*SHAPES[size]))


def real_prompts(task: str, n_prompts: int, seed: int = 0, n_shots: int = 4) -> PromptSet:
    """The first template of a task with its real rows and the GPT-NeoX tokenizer."""
    return build_prompts(
        get_task(task),
        get_task(task).templates[0].name,
        neox_tokenizer(),
        demo_seed=seed,
        n_shots=n_shots,
        n_test=n_prompts,
        rows=real_rows(task),
    )


def unshared(prompts: PromptSet) -> PromptSet:
    """The same prompts, whole."""
    return replace(prompts, shared_ids=(), own_ids=tuple(whole_ids(prompts)))


def whole_ids(prompts: PromptSet) -> list[tuple[int, ...]]:
    """Token ids of every prompt."""
    return [prompts.token_ids(i) for i in range(len(prompts.own_ids))]


def some(prompts: PromptSet, positions: Sequence[int]) -> PromptSet:
    """The prompts at some positions."""
    own_ids, split, example_id, gold = (
        tuple(values[i] for i in positions)
        for values in (prompts.own_ids, prompts.split, prompts.example_id, prompts.gold)
    )
    return replace(prompts, own_ids=own_ids, split=split, example_id=example_id, gold=gold)


def n_tokens(prompts: PromptSet) -> tuple[int, int]:
    """Tokens of all prompts, and how many of them are new where shared ones are read once; no pads."""
    return sum(map(len, whole_ids(prompts))), sum(map(len, prompts.own_ids)) + len(prompts.shared_ids)


def plain_batches(prompts: PromptSet) -> list[PromptSet]:
    """The batches of the plain pass: first every second one by length, so that a few of them have various lengths."""
    groups = batches([len(ids) for ids in whole_ids(prompts)], 0, TOKENS)
    return [some(prompts, group) for group in groups[1::2] + groups[::2]]


def n_padded(prompts: PromptSet) -> int:
    """Tokens that the plain pass reads, pads included."""
    lengths = [len(ids) for ids in whole_ids(prompts)]
    return sum(len(group) * lengths[group[0]] for group in batches(lengths, 0, TOKENS))


def plain_pass(model: PreTrainedModel, prompts: PromptSet) -> torch.Tensor:
    """Last-position label logits (example, label) as Hugging Face gives them: left-padded batches, sorted by length."""
    ids, parts, order = whole_ids(prompts), [], []
    for group in batches([len(own) for own in ids], 0, TOKENS):
        width = max(len(ids[i]) for i in group)
        padded = torch.tensor([[0] * (width - len(ids[i])) + list(ids[i]) for i in group])
        mask = torch.tensor([[0] * (width - len(ids[i])) + [1] * len(ids[i]) for i in group])
        with torch.inference_mode():
            on_device = {"input_ids": padded.to(model.device), "attention_mask": mask.to(model.device)}
            logits = model(**on_device, use_cache=False, logits_to_keep=1).logits
        parts.append(logits[:, -1, list(prompts.label_ids)])
        order += group
    return torch.cat(parts)[torch.tensor(order).argsort()]
