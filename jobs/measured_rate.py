"""The rate of this machine: operations a second of decompositions at Pythia's shapes, drawn weights and prompts."""

import time
from collections.abc import Iterator

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedModel

from dynamics.decomposition import decompose
from dynamics.forward.batching import free_bytes
from dynamics.prompts import PromptSet
from jobs.open_checkpoint import resolve_device
from jobs.price_list import CONTEXT, SHAPES, Device, parameters, per_token

N_OWN = 64
"""New tokens of a prompt; the rest of `CONTEXT` is shared."""
N_PROMPTS = {"cpu": 48, "cuda": 1024}
RUNS = 3
MOST_SECONDS = 20.0
"""A size whose run is expected to take longer is not measured, nor are larger ones."""
VOCABULARY = 50_304


def this_machine() -> Device:
    """The device that a sweep would use, with its rate at each size that is measured: the best of three runs."""
    device = torch.device(resolve_device("auto"))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    rates = dict(_rates(device, dtype))
    source = f"measured here at {', '.join(rates)}; larger sizes at the rate of the largest of these"
    return Device(f"{name}, {str(dtype).removeprefix('torch.')}", source, rates)


def _rates(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, float]]:
    """Size and operations a second, from the smallest on."""
    rate = None
    prompts = _drawn_prompts(N_PROMPTS[device.type])
    n_new = len(prompts.shared_ids) + sum(map(len, prompts.own_ids))
    for size, shape in SHAPES.items():
        n_operations = n_new * per_token(*shape, CONTEXT)
        too_large = 2 * dtype.itemsize * parameters(size) > free_bytes(device)
        if rate is not None and (too_large or n_operations / rate > MOST_SECONDS):
            return
        model = _drawn_model(*shape, device, dtype)
        rate = n_operations / min(_seconds(model, prompts) for _ in range(1 + RUNS))
        yield size, rate


def _seconds(model: PreTrainedModel, prompts: PromptSet) -> float:
    started = time.perf_counter()
    decompose(model, prompts)
    return time.perf_counter() - started


def _drawn_model(n_blocks: int, width: int, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """Pythia's shape but for the number of heads, which hardly changes the seconds."""
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=n_blocks,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    )
    with device:
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(False)


def _drawn_prompts(n: int) -> PromptSet:
    """Prompts of two labels, in which the average new token looks back on `CONTEXT` tokens."""
    drawn = torch.randint(VOCABULARY, (CONTEXT - N_OWN // 2 + n * N_OWN,), generator=torch.Generator().manual_seed(0))
    shared, own = drawn[: CONTEXT - N_OWN // 2].tolist(), drawn[CONTEXT - N_OWN // 2 :].view(n, N_OWN).tolist()
    names = tuple(map(str, range(n)))
    return PromptSet(
        "drawn",
        "drawn",
        0,
        0,
        ("a", "b"),
        (0, 1),
        tuple(shared),
        tuple(map(tuple, own)),
        ("test",) * n,
        names,
        (0,) * n,
    )
