"""The memory formulae against tensors, for every family."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynamics.components import component_grid
from dynamics.decomposition import split_logits, unembedding_projection
from dynamics.errors import CheckpointError
from dynamics.families import anatomy
from dynamics.forward.last_token import last_token, shared_prefix
from dynamics.forward.memory import (
    MAX_TOKENS_CPU,
    ModelShape,
    batch_bytes,
    bytes_per_token,
    decomposition_bytes,
    halved,
    peak_resident_bytes,
)
from tests.dynamics.test_decomposition import ragged_prompts
from tests.models import VARIANTS, perturbed

every_variant = pytest.mark.parametrize("variant", VARIANTS)
PYTHIA_70M = {"num_hidden_layers": 6, "num_attention_heads": 8, "hidden_size": 512, "intermediate_size": 2048}


@every_variant
def test_a_shape_is_what_the_model_has(variant: str) -> None:
    model = perturbed(VARIANTS[variant])
    shape, parts = ModelShape.of(model.config.to_dict()), anatomy(model)
    assert (shape.n_layers, shape.n_heads) == (parts.n_layers, parts.n_heads)
    assert shape.d_heads == parts.blocks[0].w_o.shape[0] * parts.blocks[0].w_o.shape[1]
    assert shape.n_components == len(component_grid(parts.n_layers, parts.n_heads, attention_bias=True))
    prefix = shared_prefix(parts, [3, 4, 5], 20)
    assert prefix is not None
    keys = prefix.layers[0].filled.keys
    assert keys.shape[1] * keys.shape[3] == shape.d_kv


@every_variant
def test_a_config_file_gives_the_same_shape(variant: str, tmp_path: Path) -> None:
    VARIANTS[variant].save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert ModelShape.of(written) == ModelShape.of(VARIANTS[variant].to_dict())


@every_variant
def test_the_memory_of_a_decomposition_is_counted(variant: str) -> None:
    """Last-token rows, projection and contributions of one batch, against the same batch counted."""
    parts, prompts = anatomy(perturbed(VARIANTS[variant])), ragged_prompts()
    shape, n = ModelShape.of(VARIANTS[variant].to_dict()), len(prompts.own_ids)
    projection, last = unembedding_projection(parts, prompts.label_ids), last_token(parts, prompts.own_ids)
    contributions, _ = split_logits(parts, projection, last)
    last_tokens = last.heads.nbytes + last.mlps.nbytes
    counted = decomposition_bytes(shape, "float32", n_examples=n, n_labels=3, n_batch=n)
    without_bias = 0 if parts.has_attention_bias else parts.n_layers * n * 3 * 4
    assert counted == 2 * (contributions.nbytes + without_bias) + projection.heads.nbytes + 2 * last_tokens


def test_more_of_anything_takes_more() -> None:
    shape, settings = ModelShape.of(PYTHIA_70M), {"n_examples": 100, "n_labels": 2, "n_batch": 10}
    base = decomposition_bytes(shape, "float32", **settings)
    for name in settings:
        assert decomposition_bytes(shape, "float32", **{**settings, name: settings[name] + 1}) > base
    assert decomposition_bytes(shape, "bfloat16", **settings) - base == 4 * 512 * 512
    assert bytes_per_token(shape, "float32") == 2 * bytes_per_token(shape, "float16") == 4 * (16 * 512 + 1024)
    assert batch_bytes(shape, "float32", 10, n_shared=5) == 10 * bytes_per_token(shape, "float32") + 4 * 2 * 6 * 512 * 5


@pytest.mark.parametrize("missing", ["num_hidden_layers", "num_attention_heads", "hidden_size"])
def test_a_config_without_sizes_is_refused_by_the_name_of_the_key(missing: str) -> None:
    with pytest.raises(CheckpointError, match=missing):
        ModelShape.of({key: value for key, value in PYTHIA_70M.items() if key != missing})


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_peak_is_of_this_process_and_not_of_the_one_that_started_it() -> None:
    before, large = peak_resident_bytes(), np.ones(150_000_000, np.uint8)
    assert peak_resident_bytes() >= before
    code = "from dynamics.forward.memory import peak_resident_bytes; print(peak_resident_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5e6 < int(child.stdout) < large.nbytes < peak_resident_bytes()


def test_half_of_a_budget_is_at_least_one() -> None:
    assert (halved(None), halved(100), halved(1)) == (MAX_TOKENS_CPU // 2, 50, 1)
