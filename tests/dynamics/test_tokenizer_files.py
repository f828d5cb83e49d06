"""Tokenizers: the tokens of tokenizer.json whatever class the config names, and one tokenisation over all steps."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, LlamaConfig

from dynamics.checkpoints import find_checkpoints
from dynamics.decomposition import decompose
from dynamics.errors import CheckpointError, PromptError
from dynamics.full_model import full_logits
from dynamics.loading import load_tokenizer
from dynamics.partition import select_rows
from dynamics.prompt_encoder import prompt_text
from dynamics.prompts import build_prompts
from dynamics.step_consistency import compare_steps
from dynamics.tasks import Row, Task, TaskRows, Template
from dynamics.tokenizer_files import PROBES, check_one_tokenizer, read_tokenizer_file
from tests import hub_models
from tests.hub_server import FakeHub
from tests.models import LLAMA, perturbed

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
WORDS = ["Sales", "Ġof", "Ġ1990", "Ġunits", "year", "Ġyear"]


def byte_level(words: Sequence[str] = WORDS, of: Tokenizer | None = None, **changes: Any) -> Tokenizer:
    """A byte-level BPE that knows a few whole words, in the manner of GPT-NeoX; or as another one, with other words."""
    vocabulary = {token: i for i, token in enumerate([*BYTES, "<|endoftext|>", "<s>", "</s>"])}
    merges: list[tuple[str, str]] = []
    for word in words:
        for i in range(1, len(word)):
            vocabulary.setdefault(word[: i + 1], len(vocabulary))
            if (word[:i], word[i]) not in merges:
                merges.append((word[:i], word[i]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    default = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = of.pre_tokenizer if of else changes.get("pre_tokenizer", default)
    for name in ("normalizer", "post_processor"):
        setattr(tokenizer, name, getattr(of, name) if of else changes.get(name))
    tokenizer.add_special_tokens(["<|endoftext|>", "<s>", "</s>"])
    return tokenizer


DIGITS = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
BOS = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 257)])
EOS = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 258)])
SHAPES: dict[str, Tokenizer] = {
    "plain": byte_level(),
    "single digits": byte_level(pre_tokenizer=DIGITS),
    "prefix space": byte_level(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "lower case": byte_level(normalizer=normalizers.Lowercase()),
    "NFKC": byte_level(normalizer=normalizers.NFKC()),
    "white space only": byte_level(
        pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel()])
    ),
    "bos": byte_level(post_processor=BOS),
}
CLASSES = ["GPT2Tokenizer", "GPTNeoXTokenizer", "GPTNeoXTokenizerFast", "LlamaTokenizer", "PreTrainedTokenizerFast"]


def write(folder: Path, tokenizer: Tokenizer, model_type: str = "llama", **config: Any) -> Path:
    """A folder with config and tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<|endoftext|>", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "model.safetensors").write_bytes(folder.name.encode())
    return folder


def opened(folder: Path):
    """As a sweep opens it."""
    return load_tokenizer(find_checkpoints("m", "finished", folder=folder)[0])


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_tokens_are_those_of_the_file_whatever_class_the_config_names(
    tmp_path: Path, shape: str, class_name: str
) -> None:
    folder = write(tmp_path / "m", SHAPES[shape], tokenizer_class=class_name)
    tokenizer = opened(folder)
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*PROBES, "Sales of 1990 units"):
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == file.encode(text, add_special_tokens=False).ids
        assert tokenizer(text)["input_ids"] == file.encode(text).ids


def test_the_case_that_transformers_reads_otherwise(tmp_path: Path) -> None:
    """Without this the test above would prove nothing."""
    folder = write(tmp_path / "m", SHAPES["single digits"], tokenizer_class="GPT2Tokenizer")
    text = "Sales of 1990 units"
    rebuilt = AutoTokenizer.from_pretrained(folder)
    assert rebuilt.convert_ids_to_tokens(rebuilt(text)["input_ids"]) == ["Sales", "Ġof", "Ġ1990", "Ġunits"]
    tokenizer = opened(folder)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
    assert tokens == ["Sales", "Ġof", "Ġ", "1", "9", "9", "0", "Ġunits"]


def test_a_tokenizer_that_does_not_open_as_its_file_is_refused_with_both_tokenisations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "m", SHAPES["single digits"])
    other = AutoTokenizer.from_pretrained(write(tmp_path / "other", SHAPES["plain"]))
    monkeypatch.setattr("dynamics.loading.TokenizersBackend.from_pretrained", lambda *_, **__: other)
    with pytest.raises(
        CheckpointError, match=r"does not open as its tokenizer\.json defines it: 'Sales of 1990 units"
    ) as error:
        opened(folder)
    assert "by the file and Sales[262] Ġof[264] Ġ1990[" in str(error.value)


def test_special_tokens_of_config_and_post_processor(tmp_path: Path) -> None:
    bos = 257
    assert opened(write(tmp_path / "a", SHAPES["bos"]))("year")["input_ids"][0] == bos
    assert opened(write(tmp_path / "b", SHAPES["plain"], add_bos_token=True))("year")["input_ids"][0] == bos
    assert opened(write(tmp_path / "c", SHAPES["plain"]))("year")["input_ids"][0] != bos


@pytest.mark.parametrize("asks", ["config", "post-processor"])
def test_a_token_after_every_text_is_refused(tmp_path: Path, asks: str) -> None:
    if asks == "config":
        folder = write(tmp_path / "m", SHAPES["plain"], add_eos_token=True)
    else:
        folder = write(tmp_path / "m", byte_level(post_processor=EOS))
    with pytest.raises(CheckpointError, match="puts '</s>' after every text, where the label word has to follow"):
        opened(folder)


def test_files_that_differ_in_nothing_that_matters_are_one_tokenizer(tmp_path: Path) -> None:
    """Truncation and padding, the layout of the JSON, merges as text, another class in the config."""
    first = write(tmp_path / "step1", SHAPES["single digits"], tokenizer_class="GPTNeoXTokenizer")
    second = write(tmp_path / "step2", SHAPES["single digits"], tokenizer_class="PreTrainedTokenizerFast")
    content = json.loads((second / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = None
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    (second / "tokenizer.json").write_text(json.dumps(content, indent=4, sort_keys=True))
    findings = compare_steps("m", {"step1": first, "step2": second})
    assert not any(found.flags for found in findings.values())
    text = "Sales of 1990 units Sales of 1990 units"
    assert opened(second)(text)["input_ids"] == opened(first)(text)["input_ids"]
    assert len(find_checkpoints("m", folder=tmp_path)) == 2


def swapped(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]


def single_digits(content: dict[str, Any]) -> None:
    content["pre_tokenizer"] = json.loads(SHAPES["single digits"].to_str())["pre_tokenizer"]


def fewer_merges(content: dict[str, Any]) -> None:
    content["model"]["merges"] = content["model"]["merges"][:-2]


@pytest.mark.parametrize("change", [swapped, single_digits, fewer_merges])
def test_steps_that_tokenise_differently_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    first = write(tmp_path / "step1", SHAPES["plain"])
    second = Path(shutil.copytree(first, tmp_path / "step2"))
    content = json.loads((second / "tokenizer.json").read_text())
    change(content)
    (second / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"model m has two tokenizers: .*step1.* and .*step2.* differ") as error:
        find_checkpoints("m", folder=tmp_path)
    assert "\n" not in str(error.value)
    assert ("differ: 'Sales of 1990" in str(error.value)) == (change is not fewer_merges)  # no probe has " year"


def test_a_step_that_begins_to_add_bos_or_changes_its_config_is_flagged(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path / f"step{step}", SHAPES["plain"])
    write(tmp_path / "step1", SHAPES["plain"], add_bos_token=True)
    (tmp_path / "step2/config.json").write_text(
        json.dumps({"model_type": "llama", "rope_theta": 5.0, "use_cache": True})
    )
    (tmp_path / "step3/config.json").write_text(json.dumps({"model_type": "llama", "transformers_version": "4.0"}))
    first, second, third = find_checkpoints("m", folder=tmp_path)
    assert (first.flags, second.flags, third.flags) == (("special_tokens_changed",), ("config_changed",), ())
    assert second.notes == ("config.json differs: rope_theta = 5.0 (None at m step 3)",)


def test_a_damaged_or_missing_tokenizer_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", SHAPES["plain"])
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="is a Git LFS pointer, not the file; run `git lfs pull`"):
        read_tokenizer_file(folder)
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(CheckpointError, match="is not a tokenizer that can be read"):
        read_tokenizer_file(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer.json is missing"):
        read_tokenizer_file(folder)
    check_one_tokenizer("m", {"step1": folder})


TASK = Task(
    name="reports",
    n_labels=2,
    label_words=("up", "down"),
    templates=(Template("plain", "{text}\nSales went {label}"),),
    load=lambda _: TaskRows(
        tuple(Row(f"p{i}", {"text": f"Sales of {1990 + i} units in Année {i}"}, i % 2) for i in range(8)),
        tuple(Row(f"t{i}", {"text": f"year {2007 + i}:  $3,{i}00 émigré"}, i % 2) for i in range(6)),
    ),
    source="made up",
)


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_label_logits_are_those_of_an_independent_reading(tmp_path: Path, shape: str, class_name: str) -> None:
    """Tokens by `tokenizers` from the file, logits by `model(input_ids)`, prompts one by one and whole."""
    folder = write(tmp_path / "m", byte_level(words=(*WORDS, "Ġup", "Ġdown", "up", "down"), of=SHAPES[shape]))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": class_name}))
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = perturbed(LlamaConfig(**{**LLAMA, "vocab_size": file.get_vocab_size()}))
    prompts = build_prompts(TASK, "plain", opened(folder), demo_seed=0, n_shots=2, n_test=6, n_train=2)
    split = decompose(model, prompts, token_budget=200)
    texts = {row.example_id: row for row in (*TASK.load(None).pool, *TASK.load(None).test)}
    selection = select_rows(TASK, TASK.load(None), demo_seed=0, n_shots=2, n_test=6, n_train=2)
    for i, example_id in enumerate(prompts.example_id):
        text = prompt_text(TASK, TASK.templates[0], selection.demonstrations, texts[example_id], TASK.label_words)
        ids = file.encode(text).ids
        words = [file.encode(f"{text} {word}").ids[-1] for word in TASK.label_words]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1, words]
        assert split.full[i] == pytest.approx(logits.numpy(), abs=1e-4)


def test_a_token_without_a_row_in_the_embedding_is_refused_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", byte_level(words=(*WORDS, "Ġup", "Ġdown")))
    n_vocab = 260
    model = perturbed(LlamaConfig(**{**LLAMA, "vocab_size": n_vocab}))
    prompts = build_prompts(TASK, "plain", opened(folder), demo_seed=0, n_shots=2, n_test=6)
    with pytest.raises(PromptError, match=f"has no row in the model's embedding of {n_vocab}; the tokenizer is of"):
        decompose(model, prompts)
    with pytest.raises(PromptError, match="has no row"):
        full_logits(model, prompts)


@pytest.mark.parametrize("word", ["", " ", " up", "up "])
def test_an_empty_label_word_is_refused(tmp_path: Path, word: str) -> None:
    tokenizer = opened(write(tmp_path / "m", byte_level(words=(*WORDS, "Ġup", "Ġdown"))))
    with pytest.raises(PromptError, match="is empty or has white space around it"):
        build_prompts(replace(TASK, label_words=(word, "down")), "plain", tokenizer, demo_seed=0, n_shots=2, n_test=6)


def test_a_permuted_tokenizer_at_one_step_of_a_hub_model_is_refused(hub: FakeHub) -> None:
    for step in (0, 1, 2):
        files = hub_models.single(step)
        if step == 1:
            content = json.loads(files["tokenizer.json"])
            words = list(content["model"]["vocab"])
            content["model"]["vocab"] = {word: i for i, word in enumerate([*words[:2], *reversed(words[2:])])}
            files["tokenizer.json"] = json.dumps(content).encode()
        hub.add("someone/suite", f"step{step}", files)
    assert len(find_checkpoints("someone/suite", [0, 2])) == 2
    with pytest.raises(CheckpointError, match=r"model someone/suite has two tokenizers: .*step 1.* and .*step 2"):
        find_checkpoints("someone/suite", [0, 1, 2])
    assert hub.files["model.safetensors"] == 0
