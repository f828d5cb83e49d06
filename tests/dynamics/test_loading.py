"""What is opened is every parameter of the files and nothing else; what is not a model's weights is refused by name."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.checkpoints import find_checkpoints, noted, random_init
from dynamics.errors import CheckpointError, UnsupportedModel, UserError
from dynamics.loading import load_model, unembedding_note
from tests.models import VARIANTS, perturbed

QUERY = "model.layers.0.self_attn.q_proj.weight"
MASK = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()

Tensors = dict[str, Tensor]
Edit = Callable[[Tensors], Tensors]


def save(
    folder: Path, variant: str, edit: Edit | None = None, config: Mapping[str, object] | None = None
) -> PreTrainedModel:
    """A random model as transformers saves it, its tensors and its config then changed."""
    model = perturbed(VARIANTS[variant])
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    if edit is not None:
        save_file({k: v.contiguous() for k, v in edit(load_file(path)).items()}, path, {"format": "pt"})
    if config is not None:
        written = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**written, **config}))
    return model


def opened(folder: Path, dtype: str = "float32", **options) -> PreTrainedModel:
    (checkpoint,) = find_checkpoints("mine", folder=folder, **options)
    return load_model(checkpoint, dtype=dtype)


def assert_same_weights(first: PreTrainedModel, second: PreTrainedModel) -> None:
    """Every parameter of both, bit by bit."""
    one, other = first.state_dict(), second.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def renamed(change: Callable[[str], str]) -> Edit:
    return lambda tensors: {change(name): tensor for name, tensor in tensors.items()}


def with_tensors(**more: Tensor) -> Edit:
    return lambda tensors: {**tensors, **{name.replace("__", "."): tensor for name, tensor in more.items()}}


def as_type(dtype: torch.dtype) -> Edit:
    return lambda tensors: {**tensors, QUERY: tensors[QUERY].to(dtype)}


def in_every_layer(prefix: str, **buffers: Tensor) -> Edit:
    named = {name.replace("__", "."): value for name, value in buffers.items()}
    return lambda ts: {**ts, **{f"{prefix}.{i}.{name}": v.clone() for i in (0, 1) for name, v in named.items()}}


@pytest.mark.parametrize(
    ("variant", "edit"),
    [
        ("gpt2", in_every_layer("transformer.h", attn__masked_bias=torch.tensor(-1e4), attn__bias=MASK)),
        ("gpt2", in_every_layer("transformer.h", attn__bias=MASK.to(torch.uint8))),
        ("gpt2", renamed(lambda name: name.removeprefix("transformer."))),
        (
            "gpt_neox-parallel",
            in_every_layer(
                "gpt_neox.layers",
                attention__masked_bias=torch.tensor(-1e4),
                attention__bias=MASK.to(torch.uint8),
                attention__rotary_emb__inv_freq=torch.ones(1),
            ),
        ),
        ("llama", in_every_layer("model.layers", self_attn__rotary_emb__inv_freq=10_000.0 ** -(torch.arange(4) / 4))),
        ("llama", renamed(lambda name: name.removeprefix("model."))),
        ("olmo2", None),
        ("mistral-no-window", None),
    ],
)
def test_what_transformers_once_saved_beside_weights_is_left_out(
    variant: str, edit: Edit | None, tmp_path: Path
) -> None:
    """Causal masks and rotary frequencies follow from the config; a backbone may be saved without its prefix."""
    model = save(tmp_path, variant, edit)
    assert_same_weights(opened(tmp_path), model)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_pickled_weights_with_old_buffers_open(legacy: bool, tmp_path: Path) -> None:
    model = save(tmp_path, "gpt2", in_every_layer("transformer.h", attn__masked_bias=torch.tensor(-1e4)))
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert_same_weights(opened(tmp_path, allow_pickle=True), model)


@pytest.mark.parametrize(
    ("wrapper", "wrap"),
    [
        ("_orig_mod", lambda name: f"_orig_mod.{name}"),
        ("module", lambda name: f"module.{name}"),
        ("_fsdp_wrapped_module", lambda name: name.replace(".layers.0.", ".layers.0._fsdp_wrapped_module.")),
    ],
)
@pytest.mark.parametrize("pickled", [False, True])
def test_names_of_a_wrapped_model_are_refused_with_the_line_that_strips_them(
    wrapper: str, wrap: Callable[[str], str], pickled: bool, tmp_path: Path
) -> None:
    model, path = save(tmp_path, "llama", renamed(wrap)), tmp_path / "model.safetensors"
    if pickled:
        torch.save(load_file(path), tmp_path / "pytorch_model.bin")
        shutil.move(path, tmp_path / "kept")
    with pytest.raises(CheckpointError, match=rf"was saved from a wrapped model; take '{wrapper}\.' out") as error:
        opened(tmp_path, allow_pickle=pickled)
    if pickled:
        return
    line = str(error.value).partition("file of weights f: ")[2]
    exec(line, {"f": str(path)})  # the line that the message gives
    assert_same_weights(opened(tmp_path), model)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.int8, "I8"),
        (torch.uint8, "U8"),
        (torch.int64, "I64"),
        (torch.bool, "BOOL"),
        (torch.complex64, "C64"),
        (torch.float8_e4m3fn, "F8_E4M3"),
    ],
)
def test_tensors_of_other_types_are_no_weights(dtype: torch.dtype, name: str, tmp_path: Path) -> None:
    save(tmp_path, "llama", as_type(dtype))
    with pytest.raises(CheckpointError, match=rf"tensor {QUERY} is of type {name}; weights are F64, F32, F16, BF16"):
        opened(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=rf"tensor {QUERY} is of type {dtype}"):
        opened(tmp_path, allow_pickle=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_every_float_type_are(dtype: torch.dtype, tmp_path: Path) -> None:
    model = save(tmp_path, "llama", as_type(dtype))
    expected = model.get_parameter(QUERY).to(dtype).to(torch.float32)
    assert torch.equal(opened(tmp_path).get_parameter(QUERY), expected)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda ts: {k: v for k, v in ts.items() if k != "model.norm.weight"}, r"missing keys: model\.norm\.weight"),
        (lambda ts: {k: v for k, v in ts.items() if k != "lm_head.weight"}, r"missing keys: lm_head\.weight"),
        (with_tensors(score__weight=torch.ones(2, 32)), r"unexpected keys: score\.weight"),
        (with_tensors(norm__weight=torch.ones(32)), r"holds model\.norm\.weight twice, as model\.norm\.weight and nor"),
        (lambda ts: {**ts, QUERY: ts[QUERY][:8]}, rf"mismatched keys: {QUERY}"),
    ],
)
def test_weights_that_are_not_exactly_the_models_parameters(edit: Edit, message: str, tmp_path: Path) -> None:
    save(tmp_path, "llama", edit)
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path)


def test_a_parameter_that_transformers_would_invent_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own report may be told to leave a key out; the names in the file do not lie."""
    save(tmp_path, "llama", lambda ts: {k: v for k, v in ts.items() if k != "model.norm.weight"})
    monkeypatch.setattr("dynamics.loading._check_complete", lambda *_: None)
    with pytest.raises(CheckpointError, match=r"does not fit its config.json: missing: model\.norm\.weight"):
        opened(tmp_path)


def test_an_adapter_beside_full_weights_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "llama")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(CheckpointError, match=r"holds full weights and an adapter .*: two models\. Move .* merge it"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["optimizer.safetensors", "consolidated.safetensors", "rng.safetensors"])
def test_an_unrelated_file_changes_no_hash(name: str, tmp_path: Path) -> None:
    model = save(tmp_path, "llama")
    (before,) = find_checkpoints("mine", folder=tmp_path)
    save_file({"state": torch.ones(3)}, tmp_path / name)
    (after,) = find_checkpoints("mine", folder=tmp_path)
    assert (after.content_hash, after.commit_sha) == (before.content_hash, before.commit_sha)
    assert_same_weights(load_model(after), model)


def test_shards_hash_and_open_by_their_index(tmp_path: Path) -> None:
    model = perturbed(VARIANTS["llama"])
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    (before,) = find_checkpoints("mine", folder=tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    save_file({"state": torch.ones(3)}, tmp_path / "model-00009-of-00009.safetensors")
    (after,) = find_checkpoints("mine", folder=tmp_path)
    assert after.content_hash == before.content_hash
    assert_same_weights(load_model(after), model)


def test_shards_of_two_models_are_refused(tmp_path: Path) -> None:
    perturbed(VARIANTS["llama"]).save_pretrained(tmp_path, max_shard_size="20KB")
    first, second, *_ = sorted(tmp_path.glob("model-*.safetensors"))
    save_file({**load_file(second), **load_file(first)}, second, {"format": "pt"})
    with pytest.raises(CheckpointError, match="and another shard both hold"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tie_word_embeddings": None}, "tie_word_embeddings = None must be true or false; correct config.json"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, r"\(32\) is not a multiple .* \(5\)\. Correct it"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": None}, "heads = 5 does not divide hidden_s"),
        ({"num_key_value_heads": 3}, "num_key_value_heads = 3 does not divide num_attention_heads = 4"),
        ({"rope_parameters": {"rope_type": "lineer", "rope_theta": 1e4}}, "rope_type 'lineer'; did you mean 'linear'?"),
        ({"rope_scaling": {"type": "none_such"}}, "unknown rope_type 'none_such'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quant_method 'gptq'\).* model.dequantize"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, r"quant_method 'bitsandbytes'\)"),
        ({"quantization_config": {"quant_method": "fp8"}}, r"quant_method 'fp8'\)"),
        ({"quantization_config": {"load_in_4bit": True}}, r"quant_method 'bitsandbytes'\).* or remove the key"),
        ({"quantization_config": {}}, r"quant_method 'unknown'\).* or remove the key if the weights are floats"),
        ({"quantization_config": "int8"}, r"\('int8', which is no table\)"),
        ({"transformers_weights": "other.safetensors"}, "names another file of weights than model.safetensors"),
        ({"hidden_act": "no_such"}, r"cannot be opened: .*no_such.* Correct config.json"),
        ({"vocab_size": "many"}, r"is not a config that transformers opens: .*vocab_size.*many.*\. Correct it"),
    ],
)
def test_a_config_that_no_model_has(config: dict, message: str, tmp_path: Path) -> None:
    save(tmp_path, "llama", config=config)
    with pytest.raises(CheckpointError, match=message) as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)
    assert "ownload the checkpoint again" not in str(error.value)


def test_a_family_that_rescales_is_refused_before_its_weights_are_opened(tmp_path: Path) -> None:
    save(tmp_path, "llama", config={"logit_scale": 0.5})
    (tmp_path / "model.safetensors").write_bytes(b"not read")
    with pytest.raises(UnsupportedModel, match=r"config key logit_scale = 0\.5"):
        opened(tmp_path)


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_an_attention_that_is_not_installed_is_replaced(key: str, tmp_path: Path) -> None:
    model = save(tmp_path, "llama", config={key: "flash_attention_2"})
    found = opened(tmp_path)
    assert found.config._attn_implementation == "sdpa"
    assert_same_weights(found, model)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_weights_beyond_float16_overflow_and_did_not_diverge(prefix: str, pickled: bool, tmp_path: Path) -> None:
    def large(tensors: Tensors) -> Tensors:
        return {
            k.removeprefix("model.") if not prefix else k: t
            for k, t in {**tensors, QUERY: tensors[QUERY] * 1e6}.items()
        }

    save(tmp_path, "llama", large)
    if pickled:
        to_pickle(tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"{QUERY} overflows float16: .* 6.55e\+04 .* bfloat16 or float32"
    ) as error:
        opened(tmp_path, "float16", allow_pickle=pickled)
    assert "diverged" not in str(error.value)
    assert opened(tmp_path, "bfloat16", allow_pickle=pickled).dtype == torch.bfloat16


def test_where_the_file_cannot_tell_another_type_is_advised_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a GGUF file, whose weights are quantised."""
    save(tmp_path, "llama", lambda ts: {**ts, QUERY: ts[QUERY] * 1e6})
    monkeypatch.setattr("dynamics.loading.stored_tensors", lambda *_: iter(()))
    with pytest.raises(CheckpointError, match=rf"{QUERY} holds NaN or infinity in float16 .* set dtype to bfloat16 or"):
        opened(tmp_path, "float16")


def test_infinity_in_the_file_is_no_overflow(tmp_path: Path) -> None:
    save(tmp_path, "llama", lambda ts: {**ts, QUERY: ts[QUERY] * torch.inf})
    with pytest.raises(CheckpointError, match=f"{QUERY} holds NaN or infinity"):
        opened(tmp_path, "float16")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        ((), "copy the weights there, or leave the step out"),
        (("pytorch_model.bin",), "add allow_pickle = true to the model if you trust it"),
        (("adapter_config.json", "adapter_model.safetensors"), r"it is an adapter only; merge it: .*merge_and_unload"),
        (("pytorch_model_fsdp_0/.metadata", "pytorch_model_fsdp_0/__0_0.distcp"), "accelerate merge-weights"),
        (("global_step5/mp_rank_00_model_states.pt", "latest"), "python zero_to_fp32.py"),
        (("my-model.safetensors",), r"it has my-model.safetensors, which is not a name .* rename the file"),
        (("consolidated.00.pth",), "it has consolidated.00.pth; .* as safetensors"),
        (("model-00001-of-00002.safetensors",), r"holds shards .* but no model.safetensors.index.json"),
    ],
)
def test_a_folder_without_weights_says_what_it_is_instead(names: tuple[str, ...], remedy: str, tmp_path: Path) -> None:
    save(tmp_path, "llama")
    (tmp_path / "model.safetensors").unlink()
    touch(tmp_path, *names)
    with pytest.raises(CheckpointError, match=remedy):
        opened(tmp_path)


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    save(tmp_path, "llama")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").symlink_to("blobs/gone")
    with pytest.raises(CheckpointError, match=r"model.safetensors is a link to a file that is not there"):
        opened(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    perturbed(VARIANTS["llama"]).save_pretrained(tmp_path, max_shard_size="20KB")
    last = max(tmp_path.glob("model-*.safetensors"))
    last.unlink()
    with pytest.raises(CheckpointError, match=rf"lacks 1 of the \d+ shards in .*, the first is {last.name}"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize(
    ("content", "system"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        ("/annex/objects/SHA256E-s1--00\n", "git-annex"),
    ],
)
def test_a_pointer_instead_of_a_file_is_named(name: str, content: str, system: str, tmp_path: Path) -> None:
    save(tmp_path, "llama")
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=rf"{name} is a {system} pointer, not the file"):
        opened(tmp_path)


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, "{", '"text"'])
def test_a_config_of_another_shape_is_one_line(content: str, tmp_path: Path) -> None:
    save(tmp_path, "llama")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config.json (is not valid JSON|holds a)"):
        opened(tmp_path)


UNTIED = "config.json ties embedding and unembedding, and the files hold two that differ: {} is the unembedding"


@pytest.mark.parametrize(
    ("variant", "head", "config"),
    [
        ("llama", "lm_head.weight", {"tie_word_embeddings": True}),
        ("gpt2-untied", "lm_head.weight", {"tie_word_embeddings": True}),
        ("gpt_neox-parallel", "embed_out.weight", {"tie_word_embeddings": True}),
    ],
)
def test_two_matrices_under_a_config_that_ties_them_are_noted(
    variant: str, head: str, config: dict, tmp_path: Path
) -> None:
    """The note says which is used, and that one is opened."""
    model = save(tmp_path, variant, config=config)
    (checkpoint,) = find_checkpoints("mine", folder=tmp_path)
    assert (checkpoint.flags, checkpoint.notes) == (("untied",), (UNTIED.format(head),))
    assert torch.equal(load_model(checkpoint).get_output_embeddings().weight, model.get_output_embeddings().weight)
    assert random_init(checkpoint, 0).flags == ()


def to_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("variant", ["llama", "gpt2-untied", "gpt_neox-parallel"])
@pytest.mark.parametrize("pickled", [False, True])
def test_an_opened_model_of_any_format_knows_that_it_is_untied(variant: str, pickled: bool, tmp_path: Path) -> None:
    """The same words, once, with the name of the unembedding in the model."""
    model = save(tmp_path, variant, config={"tie_word_embeddings": True})
    if pickled:
        to_pickle(tmp_path)
    (checkpoint,) = find_checkpoints("mine", folder=tmp_path, allow_pickle=pickled)
    assert checkpoint.flags == (() if pickled else ("untied",))
    found = load_model(checkpoint)
    assert torch.equal(found.get_output_embeddings().weight, model.get_output_embeddings().weight)
    known = noted(checkpoint, unembedding_note(found))
    assert known.flags == ("untied",)
    assert len(known.notes) == 1
    if pickled:
        assert known.notes == (UNTIED.format("lm_head.weight"),)


@pytest.mark.parametrize(("variant", "tied"), [("gpt2", True), ("llama-tied-wide-heads", True), ("llama", False)])
def test_a_pickle_that_agrees_with_its_config_has_no_note(variant: str, tied: bool, tmp_path: Path) -> None:
    """A pickle of a tied model holds the matrix under both names."""
    model = save(tmp_path, variant)
    state = model.state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert "lm_head.weight" in state
    found = opened(tmp_path, allow_pickle=True)
    assert (found.get_output_embeddings().weight is found.get_input_embeddings().weight) == tied
    assert unembedding_note(found) is None


@pytest.mark.parametrize(("variant", "config"), [("llama", None), ("gpt2", None), ("llama-tied-wide-heads", None)])
def test_a_config_that_agrees_with_its_weights_has_no_note(variant: str, config: dict | None, tmp_path: Path) -> None:
    save(tmp_path, variant, config=config)
    (checkpoint,) = find_checkpoints("mine", folder=tmp_path)
    assert (checkpoint.flags, checkpoint.notes) == ((), ())


def test_two_equal_matrices_are_tied_without_a_note(tmp_path: Path) -> None:
    save(tmp_path, "gpt2", lambda ts: {**ts, "lm_head.weight": ts["transformer.wte.weight"].clone()})
    (checkpoint,) = find_checkpoints("mine", folder=tmp_path)
    assert (checkpoint.flags, checkpoint.notes) == ((), ())
    found = load_model(checkpoint)
    assert found.get_output_embeddings().weight is found.get_input_embeddings().weight
