"""GGUF: a file opens as the model it was written from, and one that would not is refused."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from dynamics import gguf_files
from dynamics.checkpoints import find_checkpoints
from dynamics.decomposition import decompose, model_logits, relative_error
from dynamics.errors import CheckpointError
from dynamics.loading import load_model, load_tokenizer
from tests.dynamics.test_decomposition import ragged_prompts
from tests.models import VARIANTS, perturbed

LLAMA = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    **{f"self_attn.{x}_proj": f"attn_{x}" for x in "qkv"},
    "self_attn.o_proj": "attn_output",
    **{f"mlp.{x}_proj": f"ffn_{x}" for x in ("gate", "up", "down")},
}
GPT2 = {
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def tensors(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values as llama.cpp writes them: Llama's queries and keys with rotary pairs adjacent, Conv1D turned."""
    is_gpt2, config = model.config.model_type == "gpt2", model.config
    for path, value in model.named_parameters():
        module, _, kind = path.rpartition(".")
        block, inner = "", module
        if ".h." in module or ".layers." in module:
            _, _, rest = module.partition(".h." if is_gpt2 else ".layers.")
            number, _, inner = rest.partition(".")
            block = f"blk.{number}."
        array = value.numpy()
        heads = {"self_attn.q_proj": config.num_attention_heads}
        if not is_gpt2:
            heads["self_attn.k_proj"] = config.num_key_value_heads
        if inner in heads:
            split = array.reshape(heads[inner], 2, -1, *array.shape[1:])
            array = split.swapaxes(1, 2).reshape(array.shape)
        if is_gpt2 and array.ndim == 2 and inner.startswith(("attn.", "mlp.")):
            array = array.T
        yield f"{block}{(GPT2 if is_gpt2 else LLAMA)[inner]}.{kind}", np.ascontiguousarray(array)


def write(model: PreTrainedModel, folder: Path, *, quantised: bool = False, **metadata: str | int) -> None:
    """`folder/step1/model.gguf`, with a BPE tokenizer of single letters; skips where GGUF cannot be read."""
    gguf = pytest.importorskip("gguf", reason="GGUF files need the optional package gguf")
    pytest.importorskip("accelerate", reason="transformers reads GGUF files with the optional package accelerate")
    config, arch = model.config, "gpt2" if model.config.model_type == "gpt2" else "llama"
    (folder / "step1").mkdir()
    writer = gguf.GGUFWriter(folder / "step1" / "model.gguf", arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if arch == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    for key, value in metadata.items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(key.replace("__", "."), value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*(chr(ord("A") + i) for i in range(config.vocab_size - 1)), "AB"])
    writer.add_token_merges(["A B"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(True)
    for name, array in tensors(model):
        if quantised and array.ndim == 2 and array.shape[-1] % 32 == 0:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def build(variant: str) -> PreTrainedModel:
    """A random model of a variant that transformers can rebuild from a file's metadata."""
    config = copy.deepcopy(VARIANTS[variant])
    if config.model_type == "gpt2":
        # transformers reads neither from the file: it takes GPT-2's own for granted.
        config.n_positions, config.n_inner = 1024, None
    else:
        config.rope_parameters = {"rope_type": "default", "rope_theta": 500.0}
    return perturbed(config)


@pytest.mark.parametrize("variant", ["llama", "llama-tied-wide-heads", "mistral-no-window", "gpt2", "gpt2-untied"])
def test_a_file_opens_as_the_model_it_was_written_from(variant: str, tmp_path: Path) -> None:
    model, prompts = build(variant), ragged_prompts()
    write(model, tmp_path)
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    opened = load_model(checkpoint)
    assert opened.dtype == torch.float32
    assert opened.config.tie_word_embeddings == model.config.tie_word_embeddings
    split = decompose(opened, prompts)
    assert split.error < 1e-5
    assert relative_error(model_logits(opened, prompts, 0), model_logits(model, prompts, 0)) < 1e-5


def test_quantised_weights_are_unpacked_to_the_dtype_asked_for(tmp_path: Path) -> None:
    model, prompts = build("llama"), ragged_prompts()
    write(model, tmp_path, quantised=True)
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    opened = load_model(checkpoint, dtype="bfloat16")
    assert opened.dtype == torch.bfloat16
    split = decompose(load_model(checkpoint), prompts)
    assert split.error < 1e-5
    assert 1e-4 < relative_error(split.full[0], model_logits(model, prompts, 0)) < 0.1


def test_the_tokenizer_comes_from_the_file_with_its_bos(tmp_path: Path) -> None:
    write(build("llama"), tmp_path)
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    assert load_tokenizer(checkpoint)("CD")["input_ids"] == [0, 2, 3]


def test_the_content_hash_is_of_the_gguf_file(tmp_path: Path) -> None:
    hashes = []
    for name, variant in (("a", "llama"), ("b", "gpt2")):
        (tmp_path / name).mkdir()
        write(build(variant), tmp_path / name)
        hashes += [c.content_hash for c in find_checkpoints("mine", folder=tmp_path / name)]
    assert len(set(hashes)) == 2


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"llama__rope__scaling__type": "linear"}, "rope.scaling.type = linear"),
        ({"llama__attention__sliding_window": 4}, "attention.sliding_window = 4"),
    ],
)
def test_metadata_that_transformers_drops_is_refused(metadata: dict, named: str, tmp_path: Path) -> None:
    write(build("llama"), tmp_path, **metadata)
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    with pytest.raises(CheckpointError, match=named):
        load_model(checkpoint)


def test_tensors_that_transformers_drops_are_refused(tmp_path: Path) -> None:
    """A Llama with biases: the rebuilt config knows none, and without the check the model opens without them."""
    write(build("llama-biased"), tmp_path)
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    with pytest.raises(CheckpointError, match="leaves out 14 of its 35 tensors"):
        load_model(checkpoint)


def test_two_files_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "step1").mkdir()
    for name in ("model.gguf", "other.gguf"):
        (tmp_path / "step1" / name).write_bytes(b"GGUF")
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.gguf, other\.gguf"):
        load_model(checkpoint)


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_a_missing_package_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_files, "_is_installed", lambda name, _: name != package)
    (tmp_path / "step1").mkdir()
    (tmp_path / "step1" / "model.gguf").write_bytes(b"GGUF")
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"pip install 'gguf>=0\.17\.0' accelerate"):
        load_model(checkpoint)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write(build("llama"), tmp_path)
    [checkpoint] = find_checkpoints("mine", folder=tmp_path)
    file = checkpoint.folder / "model.gguf"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="cannot be opened"):
        load_model(checkpoint)
