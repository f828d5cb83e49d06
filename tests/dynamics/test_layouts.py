"""Every layout of a checkpoint that occurs: the logits a sweep stores are those of the model that was saved.

The other side knows nothing of the suite but the text of its prompts: tokens by `tokenizers` from the file, logits by
`model(input_ids)` of the model in memory before it was saved, prompts one by one and whole. Layouts are those of the
weights, of the folder and the Hub, of the config's rotary embedding, and of the tokenizer's files.
"""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from typer.testing import CliRunner

from dynamics.partition import select_rows
from dynamics.prompt_encoder import prompt_text
from dynamics.results.store import open_store, read_units, scan
from jobs.plan import app as plan_app
from jobs.sweep import app as sweep_app
from jobs.sweep_plan import SweepPlan, read_plan
from tests.dynamics import test_gguf_files as gguf_layout
from tests.dynamics.test_tokenizer_files import SHAPES, WORDS, byte_level
from tests.hub_server import FakeHub
from tests.models import VARIANTS, perturbed

LABELS = ("up", "down")
TASK = """
[[tasks]]
name = "reports"
demo_seeds = [0]
n_shots = [2]
n_test = 6
n_train = 2

[[define]]
name = "reports"
file = "rows.csv"
columns = { text = "text" }
label_column = "label"
labels = [0, 1]
label_words = ["up", "down"]
templates = [{ name = "plain", text = "{text}\\nSales went {label}" }]
"""
ROWS = [f"Sales of {1980 + 7 * i} units: Année {i}, $3,{i}00  émigré" for i in range(24)]


@dataclass
class Saved:
    """A checkpoint on disk: the model that was saved, its folder, and what a plan says of it."""

    model: PreTrainedModel
    folder: Path
    keys: dict[str, Any] = field(default_factory=dict)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Those of its single safetensors file."""
        return load_file(self.folder / "model.safetensors")

    def replace_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        save_file({k: v.contiguous() for k, v in tensors.items()}, self.folder / "model.safetensors", {"format": "pt"})

    def configure(self, **changes: object) -> None:
        path = self.folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@cache
def tokenizer(shape: str = "plain") -> Tokenizer:
    return byte_level(words=(*WORDS, *(f"Ġ{word}" for word in LABELS), *LABELS), of=SHAPES[shape])


def config_of(variant: str, **changes: object) -> PreTrainedConfig:
    """A config of a variant that reads the tests' prompts."""
    config = copy.deepcopy(VARIANTS[variant])
    config.vocab_size = tokenizer().get_vocab_size()
    setattr(config, "n_positions" if config.model_type == "gpt2" else "max_position_embeddings", 512)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def saved(folder: Path, variant: str = "llama", *, shards: bool = False, **changes: object) -> Saved:
    """A checkpoint as transformers saves it, with a tokenizer."""
    model = perturbed(config_of(variant, **changes))
    model.save_pretrained(folder, max_shard_size="20KB" if shards else "1GB")
    save_tokenizer(folder)
    return Saved(model, folder)


def save_tokenizer(folder: Path, shape: str = "plain", **config: object) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    tokenizer(shape).save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<|endoftext|>", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


def written(root: Path, model: dict[str, Any]) -> Path:
    """A plan of one model and its rows."""
    table = pl.DataFrame({"text": ROWS, "label": [i % 2 for i in range(len(ROWS))]})
    table.write_csv(root / "rows.csv")
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model.items())
    (root / "plan.toml").write_text(f'name = "layout"\ndevice = "cpu"\n[[models]]\n{keys}\n{TASK}')
    return root / "plan.toml"


def stored(plan: Path, out: Path) -> dict[str, np.ndarray]:
    """Example -> label logits, as a sweep writes them; the plan is shown before."""
    shown = CliRunner().invoke(plan_app, [str(plan)])
    assert shown.exit_code == 0, shown.output
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])
    assert swept.exit_code == 0, swept.output
    rows = scan(open_store(out), "contributions").select("example_id", "full").collect()
    return {name: np.array(full) for name, full in rows.iter_rows()}


def independent(model: PreTrainedModel, file: Tokenizer, plan: SweepPlan, prefix: list[int]) -> dict[str, np.ndarray]:
    """Example -> label logits, one prompt at a time."""
    task = plan.task_by_name["reports"]
    rows = task.load(None)
    texts = {row.example_id: row for row in (*rows.pool, *rows.test)}
    chosen = select_rows(task, rows, demo_seed=0, n_shots=2, n_test=6, n_train=2)
    logits = {}
    for row in texts.values():
        text = prompt_text(task, task.templates[0], chosen.demonstrations, row, LABELS)
        words = [file.encode(f"{text} {word}").ids[-1] for word in LABELS]
        with torch.inference_mode():
            logits[row.example_id] = model(input_ids=torch.tensor([[*prefix, *file.encode(text).ids]])).logits[
                0, -1, words
            ]
    return {name: values.numpy() for name, values in logits.items()}


def check(
    tmp_path: Path, case: Saved, *, file: Tokenizer | None = None, prefix: list[int] | None = None
) -> pl.DataFrame:
    """Compare the two; returns the row of `units`."""
    plan = written(tmp_path, case.keys or {"id": "mine", "folder": str(case.folder)})
    found = stored(plan, tmp_path / "out")
    assert len(found) == 8
    expected = independent(case.model, file or tokenizer(), read_plan(plan), prefix or [])
    for name, logits in found.items():
        np.testing.assert_allclose(logits, expected[name], atol=1e-4, rtol=1e-4)
    spread = np.ptp(np.stack([expected[name] for name in found]), axis=0)
    assert (spread > 1e-3).all()  # so that another prompt's logits would be seen
    return read_units(open_store(tmp_path / "out"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_family_and_variant(variant: str, tmp_path: Path) -> None:
    changes = {"sliding_window": 40} if variant == "mistral-short-window" else {}  # shorter than a prompt
    check(tmp_path, saved(tmp_path / "m", variant, **changes))


@pytest.mark.parametrize("variant", ["olmoe", "qwen3_moe"])
@pytest.mark.parametrize("kind", ["gate", "up", "down"])
def test_a_matrix_of_one_expert_that_is_missing_is_seen(variant: str, kind: str, tmp_path: Path) -> None:
    case = saved(tmp_path / "m", variant)
    name = f"model.layers.0.mlp.experts.2.{kind}_proj.weight"
    case.replace_tensors({key: value for key, value in case.tensors().items() if key != name})
    with pytest.raises(AssertionError, match=r"missing: model|mismatched keys: model|cannot be opened"):
        check(tmp_path, case)


FAMILIES = ("llama", "gpt2", "gpt_neox-parallel")
"""One of each form of names; those of mistral and olmo2 are llama's."""


def bin_file(case: Saved) -> None:
    torch.save(case.tensors(), case.folder / "pytorch_model.bin")
    (case.folder / "model.safetensors").unlink()
    allow_pickle(case)


def allow_pickle(case: Saved) -> None:
    case.keys = {"id": "mine", "folder": str(case.folder), "allow_pickle": True}


def old_bin_file(case: Saved) -> None:
    """Before torch 1.6."""
    torch.save(case.tensors(), case.folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (case.folder / "model.safetensors").unlink()
    allow_pickle(case)


def whole_state(case: Saved) -> None:
    """A pickle of the state, in which a tied matrix is under both names."""
    torch.save(case.model.state_dict(), case.folder / "pytorch_model.bin")
    (case.folder / "model.safetensors").unlink()
    allow_pickle(case)


def sharded_bin(case: Saved) -> None:
    tensors = case.tensors()
    names = sorted(tensors)
    weight_map = {}
    for i in range(2):
        shard = f"pytorch_model-{i + 1:05d}-of-00002.bin"
        torch.save({name: tensors[name] for name in names[i::2]}, case.folder / shard)
        weight_map |= dict.fromkeys(names[i::2], shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (case.folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (case.folder / "model.safetensors").unlink()
    allow_pickle(case)


def without_prefix(case: Saved) -> None:
    """As a backbone is saved by itself; an unembedding has no prefix in any case."""
    prefix = f"{case.model.base_model_prefix}."
    case.replace_tensors({name.removeprefix(prefix): tensor for name, tensor in case.tensors().items()})


def old_buffers(case: Saved) -> None:
    """What old versions of transformers saved beside the weights of each layer."""
    config = case.model.config
    layers = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}.get(config.model_type, "model.layers")
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
    inner = {"gpt2": "attn", "gpt_neox": "attention"}.get(config.model_type)
    buffers = {} if inner is None else {f"{inner}.bias": mask, f"{inner}.masked_bias": torch.tensor(-1e4)}
    if config.model_type != "gpt2":
        rotary: Any = case.model.base_model.rotary_emb
        buffers |= {f"{inner or 'self_attn'}.rotary_emb.inv_freq": rotary.inv_freq.half()}
    more = {f"{layers}.{i}.{name}": value.clone() for i in range(2) for name, value in buffers.items()}
    case.replace_tensors({**case.tensors(), **more})


def through(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round the parameters to a type; rotary frequencies are none, and stay as they are."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).float()


def half_in_file(case: Saved) -> None:
    case.replace_tensors({name: tensor.half() for name, tensor in case.tensors().items()})
    through(case.model, torch.float16)


def bfloat16_in_file(case: Saved) -> None:
    case.replace_tensors({name: tensor.bfloat16() for name, tensor in case.tensors().items()})
    through(case.model, torch.bfloat16)


def both_formats(case: Saved) -> None:
    """A pickle of another model beside the safetensors, and pickle allowed."""
    torch.save({name: tensor + 1 for name, tensor in case.tensors().items()}, case.folder / "pytorch_model.bin")
    allow_pickle(case)


def shards_of_another_model_beside(case: Saved) -> None:
    """Without an index they are no shards of this one; the single file is."""
    other = {name: tensor + 1 for name, tensor in case.tensors().items()}
    save_file(other, case.folder / "model-00001-of-00001.safetensors", {"format": "pt"})


def flash_attention(case: Saved) -> None:
    case.configure(_attn_implementation="flash_attention_2")


def a_trainers_leftovers(case: Saved) -> None:
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({"state": torch.ones(3)}, case.folder / name)
    (case.folder / "trainer_state.json").write_text('{"global_step": 5}')
    (case.folder / "generation_config.json").write_text("{}")


def links(case: Saved) -> None:
    """As a snapshot in the Hub's cache."""
    blobs = case.folder.parent / "blobs"
    shutil.copytree(case.folder, blobs)
    for path in list(case.folder.iterdir()):
        path.unlink()
        path.symlink_to(blobs / path.name)


WEIGHTS: tuple[Callable[[Saved], None], ...] = (
    bin_file, old_bin_file, whole_state, sharded_bin, without_prefix, old_buffers, half_in_file, bfloat16_in_file,
    both_formats, shards_of_another_model_beside, flash_attention, a_trainers_leftovers, links,
)  # fmt: skip


@pytest.mark.parametrize("variant", FAMILIES)
@pytest.mark.parametrize("change", WEIGHTS, ids=lambda change: change.__name__)
def test_every_layout_of_the_weights(change: Callable[[Saved], None], variant: str, tmp_path: Path) -> None:
    case = saved(tmp_path / "m", variant)
    change(case)
    check(tmp_path, case)


@pytest.mark.parametrize("variant", FAMILIES)
def test_shards_of_safetensors(variant: str, tmp_path: Path) -> None:
    case = saved(tmp_path / "m", variant, shards=True)
    assert len(list(case.folder.glob("model-*.safetensors"))) > 1
    check(tmp_path, case)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("variant", ["llama", "gpt2-untied", "gpt_neox-parallel"])
def test_an_unembedding_that_the_config_does_not_expect(variant: str, pickled: bool, tmp_path: Path) -> None:
    case = saved(tmp_path / "m", variant)
    case.configure(tie_word_embeddings=True)
    if pickled:
        bin_file(case)
    assert check(tmp_path, case)["flags"].to_list() == [["untied"]]


@pytest.mark.parametrize("variant", ["gpt2", "llama-tied-wide-heads"])
@pytest.mark.parametrize("change", [whole_state, sharded_bin, without_prefix, half_in_file])
def test_tied_unembeddings(change: Callable[[Saved], None], variant: str, tmp_path: Path) -> None:
    case = saved(tmp_path / "m", variant)
    change(case)
    assert check(tmp_path, case)["flags"].to_list() == [[]]


@pytest.mark.parametrize("rope_type", ["default", *ROPE_INIT_FUNCTIONS])
@pytest.mark.parametrize("variant", ["llama", "gpt_neox-parallel"])
def test_every_rope_type_and_both_keys_it_is_under(rope_type: str, variant: str, tmp_path: Path) -> None:
    half = 2 if variant.startswith("gpt_neox") else 4
    parameters = {
        "rope_type": rope_type, "rope_theta": 100.0, "partial_rotary_factor": half / 4, "factor": 4.0,
        "original_max_position_embeddings": 128, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "short_factor": [1.0] * half, "long_factor": [3.0] * half,
    }  # fmt: skip
    check(tmp_path, saved(tmp_path / "m", variant, rope_parameters=parameters))


def test_the_older_key_of_a_scaled_rotary_embedding(tmp_path: Path) -> None:
    """`rope_scaling` with `type`, and `rope_theta` beside it, as files of before transformers 5 have them."""
    case = saved(tmp_path / "m", rope_parameters={"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0})
    config = json.loads((case.folder / "config.json").read_text())
    del config["rope_parameters"]
    old = {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 100.0}
    (case.folder / "config.json").write_text(json.dumps({**config, **old}))
    check(tmp_path, case)


@pytest.mark.parametrize("name", ["step7", "checkpoint-7"])
def test_step_folders(name: str, tmp_path: Path) -> None:
    case = saved(tmp_path / "run" / name)
    case.folder = case.folder.parent
    assert check(tmp_path, case)["step"].to_list() == [7]


def test_a_trainers_own_model_beside_its_checkpoints(tmp_path: Path) -> None:
    case = saved(tmp_path / "run")
    other = perturbed(config_of("llama"), seed=5)
    other.save_pretrained(tmp_path / "run" / "checkpoint-7")
    save_tokenizer(tmp_path / "run" / "checkpoint-7")
    case.keys = {"id": "mine", "folder": str(case.folder), "steps": "finished"}
    check(tmp_path, case)


@pytest.mark.parametrize("change", [None, sharded_bin, bin_file, without_prefix, old_buffers])
def test_on_the_hub(change: Callable[[Saved], None] | None, hub: FakeHub, tmp_path: Path) -> None:
    case = saved(tmp_path / "m", "gpt_neox-parallel", shards=change is None)
    if change is not None:
        change(case)
    hub.add("someone/suite", "step7", {path.name: path.read_bytes() for path in case.folder.iterdir()})
    case.keys = {"id": "someone/suite", "steps": [7], "allow_pickle": True}
    assert check(tmp_path, case)["commit_sha"].to_list() == [hub.branches["someone/suite"]["step7"]]


def test_on_the_hub_in_the_format_that_is_sound(hub: FakeHub, tmp_path: Path) -> None:
    """Two steps serve one safetensors file; their pickles differ."""
    case = saved(tmp_path / "m")
    wrong = saved(tmp_path / "wrong", rms_norm_eps=0.01)
    wrong.replace_tensors({name: tensor + 1 for name, tensor in wrong.tensors().items()})
    file = (wrong.folder / "model.safetensors").read_bytes()
    bin_file(case)
    bin_file(wrong)
    for step, folder in ((7, case.folder), (8, wrong.folder)):
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        hub.add("someone/suite", f"step{step}", files | {"model.safetensors": file})
    case.keys = {"id": "someone/suite", "steps": [7], "allow_pickle": True}
    assert check(tmp_path, case)["flags"].to_list() == [["other_format"]]


@pytest.mark.parametrize("variant", ["llama", "llama-tied-wide-heads", "mistral-no-window", "gpt2", "gpt2-untied"])
def test_gguf_with_a_tokenizer_beside_it(variant: str, tmp_path: Path) -> None:
    """transformers takes what the file does not say for GPT-2's own."""
    changes = {"n_positions": 1024, "n_inner": None} if variant.startswith("gpt2") else {}
    if not changes:
        changes = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    model = perturbed(config_of(variant, **changes))
    run = tmp_path / "run"
    run.mkdir()
    gguf_layout.write(model, run)
    save_tokenizer(run / "step1")
    check(tmp_path, Saved(model, run))


@pytest.mark.parametrize("class_name", ["GPT2Tokenizer", "LlamaTokenizer"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_tokenizer_under_classes_that_transformers_rebuilds(shape: str, class_name: str, tmp_path: Path) -> None:
    case = saved(tmp_path / "m")
    save_tokenizer(case.folder, shape, tokenizer_class=class_name)
    check(tmp_path, case, file=tokenizer(shape))


def test_a_bos_that_only_the_config_asks_for(tmp_path: Path) -> None:
    case = saved(tmp_path / "m")
    save_tokenizer(case.folder, add_bos_token=True)
    units = check(tmp_path, case, prefix=[tokenizer().token_to_id("<s>")])
    assert units["flags"].to_list() == [["bos"]]


@pytest.mark.parametrize("where", ["folder", "Hub"])
def test_a_tokenizer_that_the_plan_names(where: str, hub: FakeHub, tmp_path: Path) -> None:
    case = saved(tmp_path / "m")
    (case.folder / "tokenizer.json").write_text("{}")
    save_tokenizer(tmp_path / "named", "single digits")
    hub.add("someone/neox", "main", {path.name: path.read_bytes() for path in (tmp_path / "named").iterdir()})
    named = str(tmp_path / "named") if where == "folder" else "someone/neox@main"
    case.keys = {"id": "mine", "folder": str(case.folder), "tokenizer": named}
    units = check(tmp_path, case, file=tokenizer("single digits"))
    assert units["tokenizer"][0].startswith(
        "named commit sha256:" if where == "folder" else "someone/neox@main commit "
    )
