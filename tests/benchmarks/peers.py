"""The decomposition against TransformerLens, for the same label contributions; in an environment of its own.

`make bench-peers` installs the versions in `peers.txt` beside this file. Both read the same weights and prompts.
TransformerLens is run as usually written, with everything cached, and with the least cached that gives the same.
"""

import copy
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynamics.decomposition import decompose, relative_error
from dynamics.forward.batching import batches
from dynamics.prompts import PromptSet
from tests.benchmarks.timing import Row, in_turns
from tests.benchmarks.workloads import TOKENS, plain_pass, pythia, real_prompts, whole_ids
from tests.real_rows import neox_tokenizer

FASTER = {"70m": 8.0, "160m": 5.0}
CACHED = {"usual": None, "least": lambda name: name.endswith((".hook_z", "ln_final.hook_scale"))}
"""What it caches: everything, as usually written; or only what the decomposition reads, at the last position."""


def against_transformer_lens() -> Iterator[Row]:
    """Seconds of TransformerLens over ours with shared demonstrations."""
    for size, n_prompts in (("70m", 128), ("160m", 64)):
        prompts = real_prompts("sst2", n_prompts)
        model, bridge = pythia(size), booted(size)
        ours = decompose(model, prompts, token_budget=TOKENS)
        heads = [i for i, component in enumerate(ours.components) if component.kind == "head"]
        error = max(relative_error(contributions(bridge, prompts, k), ours.contributions[:, heads]) for k in CACHED)
        methods = {
            f"TransformerLens, {cached} cache": partial(contributions, bridge, prompts, cached) for cached in CACHED
        }
        times = in_turns(
            {
                "plain": partial(plain_pass, model, prompts),
                "ours": partial(decompose, model, prompts, token_budget=TOKENS),
                **methods,
            },
            runs=3,
        )
        on = f"{size}, {n_prompts} of sst2"
        for method in methods:
            note = f"contributions differ by {error:.1e}; {times.note(method, 'ours')}"
            yield Row(f"{method} / ours", on, times.ratio(method, "ours"), FASTER[size], True, note)
            yield Row(f"{method} / plain", on, times.ratio(method, "plain"))


def booted(size: str) -> Any:
    """A bridge to the weights of `pythia(size)`."""
    from transformer_lens.model_bridge import TransformerBridge

    with tempfile.TemporaryDirectory() as folder:
        pythia(size).save_pretrained(Path(folder))
        return TransformerBridge.boot_transformers(folder, tokenizer=copy.deepcopy(neox_tokenizer()), device="cpu")


def contributions(bridge: Any, prompts: PromptSet, cached: str) -> np.ndarray:
    """Contributions of all heads (example, head, label) to the label logits."""
    ids = whole_ids(prompts)
    groups = batches([len(own) for own in ids], 0, TOKENS)
    parts = [_one_batch(bridge, [ids[i] for i in group], prompts.label_ids, cached) for group in groups]
    return torch.cat(parts).numpy()[np.argsort(np.concatenate(groups))]


def _one_batch(bridge: Any, ids: list[tuple[int, ...]], label_ids: tuple[int, ...], cached: str) -> torch.Tensor:
    """A batch padded on the left, so that every prompt's last token is at the last position."""
    width = max(map(len, ids))
    padded = torch.tensor([[0] * (width - len(own)) + list(own) for own in ids])
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in ids])
    with torch.inference_mode():
        filters = {} if cached == "usual" else {"names_filter": CACHED[cached], "pos_slice": -1}
        _, cache = bridge.run_with_cache(padded, attention_mask=mask, **filters)
        stack = cache.stack_head_results(layer=-1, apply_ln=True, **({"pos_slice": -1} if cached == "usual" else {}))
        return torch.einsum("hed,dy->ehy", stack.view(len(stack), len(ids), -1), bridge.W_U[:, list(label_ids)])
