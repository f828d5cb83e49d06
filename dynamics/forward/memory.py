"""Memory of a forward pass and its decomposition, from the model's shape alone; and the peak of this process. No torch.

With T padded tokens in a batch (the shared prefix counted once per example), in elements of the pass's dtype:

    activations     T * max(12 d_model, 4 d_model + 3 d_ff)     of one block, replaced by those of the next
    shared keys     2 d_kv * (n_layers * shared + T)            every layer's prefix, one layer's copies for the batch

and in addition for the decomposition, in float32 elements:

    contributions   2 * n_examples * n_components * n_labels    twice while batches are concatenated
    projection      n_layers * d_heads * n_labels + d_heads * d_model * (half precision)
    last tokens     2 * n_batch * n_layers * (d_heads + d_model) as stored, and in float32

`docs/performance.md` compares the formulae with measurements.
"""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dynamics.errors import CheckpointError

BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}
MAX_TOKENS_CPU = 4_096
"""Maximum padded tokens of a batch on a CPU, unless the plan says otherwise: larger ones exceed its caches."""
MAX_TOKENS_GPU = 65_536
"""The same on a GPU, which smaller batches already keep busy."""
_FLOAT32 = 4
_NAMES = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "n_heads": ("num_attention_heads", "n_head"),
    "d_model": ("hidden_size", "n_embd"),
}


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model that determine its memory.

    Attributes:
        n_layers, n_heads, d_model: blocks, heads per block, width of the residual stream.
        d_heads: total width of the heads of a block.
        d_kv: total width of the keys of a block; less than d_heads where heads share keys.
        d_ff: hidden width of an MLP.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_heads: int
    d_kv: int
    d_ff: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """The shape in a config.json, or in a config's `to_dict()`.

        Raises:
            CheckpointError: it lacks the number of layers or heads, or the width.
        """
        n_layers, n_heads, d_model = (_first(config, *names) for names in _NAMES.values())
        d_head = config.get("head_dim") or d_model // n_heads
        return cls(
            n_layers=n_layers,
            n_heads=n_heads,
            d_model=d_model,
            d_heads=n_heads * d_head,
            d_kv=(config.get("num_key_value_heads") or n_heads) * d_head,
            d_ff=config.get("intermediate_size") or config.get("ffn_dim") or config.get("n_inner") or 4 * d_model,
        )

    @property
    def n_components(self) -> int:
        """Number of components: the embedding, and heads, MLP and attention bias of every layer."""
        return 1 + self.n_layers * (self.n_heads + 2)


def bytes_per_token(shape: ModelShape, dtype: str) -> int:
    """Bytes per padded token of a batch, with the token's share of a layer's keys."""
    return BYTES_OF[dtype] * (max(12 * shape.d_model, 4 * shape.d_model + 3 * shape.d_ff) + 2 * shape.d_kv)


def batch_bytes(shape: ModelShape, dtype: str, token_budget: int, n_shared: int = 0) -> int:
    """Bytes of a forward pass of a full batch, without the weights."""
    prefix = 2 * shape.n_layers * shape.d_kv * n_shared * BYTES_OF[dtype]
    return token_budget * bytes_per_token(shape, dtype) + prefix


def decomposition_bytes(shape: ModelShape, dtype: str, *, n_examples: int, n_labels: int, n_batch: int) -> int:
    """Bytes that the decomposition of `n_examples` adds to their forward passes, in batches of up to `n_batch`."""
    widened = shape.d_heads * shape.d_model if dtype != "float32" else 0
    elements = (
        2 * n_examples * shape.n_components * n_labels,
        shape.n_layers * shape.d_heads * n_labels + widened,
        2 * n_batch * shape.n_layers * (shape.d_heads + shape.d_model),
    )
    return _FLOAT32 * sum(elements)


def halved(token_budget: int | None) -> int:
    """The budget for the next attempt after a process ran out of memory with this one."""
    return max(1, (MAX_TOKENS_CPU if token_budget is None else token_budget) // 2)


def _first(config: Mapping[str, Any], *names: str) -> int:
    value = next((config[name] for name in names if config.get(name) is not None), None)
    if not isinstance(value, int):
        raise CheckpointError(
            f"config.json has no number {' or '.join(names)}; name a folder with the config of a language model"
        )
    return value


def peak_resident_bytes() -> int:
    """Peak memory of this process in bytes, since its program was started.

    From /proc where it exists: on Linux, the value of `getrusage` starts at the size of the process that this one was
    forked from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
