"""Embeddings: mean pooling over a text's own tokens, ragged or not; neighbours on planted vectors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from transformers import BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerBase

from dynamics.errors import CheckpointError, FailedCheck
from dynamics.loading import open_tokenizer
from dynamics.methods.baselines import encoder_hash
from dynamics.methods.nearest import EmbeddingCache, checkpoint_embedder, encoder_embedder, nearest, row_text
from dynamics.tasks import Row
from tests.dynamics.test_prompts_bos import tokenizer as word_level
from tests.dynamics.test_tokenizer_files import CLASSES, SHAPES, byte_level, write
from tests.models import tiny_neox

TEXTS = ["warm moving", "dull", "bright again here now", "warm", "again and again it is dull"]
PLANTED = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 5, 0.1]])


def test_the_nearest_by_angle_is_last() -> None:
    queries = np.array([[0.9, 0.3, 0.1], [0, 3, 1]])
    assert nearest(queries, PLANTED, 3).tolist() == [[1, 4, 0], [2, 1, 4]]


def test_length_does_not_count_and_equals_go_to_the_earlier() -> None:
    pool = np.array([[2.0, 0], [1, 0], [0, 1], [9, 0]])
    assert nearest(np.array([[0.5, 0.0]]), pool, 4).tolist() == [[2, 3, 1, 0]]


def test_as_many_as_there_are_is_a_permutation() -> None:
    rng = np.random.default_rng(0)
    order = nearest(rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), 5)
    assert (np.sort(order, axis=1) == np.arange(5)).all()
    assert len(np.unique(order, axis=0)) > 1


@pytest.mark.parametrize("token_budget", [1, 8, 1000])
def test_checkpoint_vectors_are_the_mean_of_final_hidden_states(
    neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, token_budget: int
) -> None:
    embeddings = checkpoint_embedder(neox, tokenizer, token_budget=token_budget)(TEXTS)
    for text, vector in zip(TEXTS, embeddings, strict=True):
        with torch.no_grad():
            states = neox(torch.tensor([tokenizer(text)["input_ids"]]), output_hidden_states=True).hidden_states[-1]
        np.testing.assert_allclose(vector, states[0].mean(0).numpy(), atol=1e-5)


def test_a_leading_bos_is_read_but_not_averaged() -> None:
    adds_bos = word_level("<s> $A")
    model = tiny_neox(len(adds_bos), parallel=True)
    with torch.no_grad():
        states = model(torch.tensor([adds_bos("w1 w2")["input_ids"]]), output_hidden_states=True).hidden_states[-1]
    assert states.shape[1] == 3
    np.testing.assert_allclose(checkpoint_embedder(model, adds_bos)(["w1 w2"])[0], states[0, 1:].mean(0), atol=1e-5)


def test_a_text_longer_than_the_context_is_cut(neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embed = checkpoint_embedder(neox, tokenizer)
    limit = neox.config.max_position_embeddings
    long, cut = embed([" ".join(["warm"] * (limit + 9)), " ".join(["warm"] * limit)])
    np.testing.assert_array_equal(long, cut)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with a random BERT that reads 16 positions."""
    folder = tmp_path_factory.mktemp("encoder")
    save_bert(folder, len(tokenizer), 16)
    tokenizer.save_pretrained(folder)
    return folder


def save_bert(folder: Path, vocab_size: int, n_positions: int) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=n_positions,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize("token_budget", [1, 1000])
def test_encoder_vectors_are_the_mean_of_its_last_states(
    encoder: Path, tokenizer: PreTrainedTokenizerBase, token_budget: int
) -> None:
    model = BertModel.from_pretrained(encoder).eval()
    embeddings = encoder_embedder(encoder, token_budget=token_budget)(TEXTS)
    for text, vector in zip(TEXTS, embeddings, strict=True):
        with torch.no_grad():
            states = model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state
        np.testing.assert_allclose(vector, states[0].mean(0).numpy(), atol=1e-5)


def test_an_encoder_cuts_what_it_cannot_read(encoder: Path) -> None:
    long, cut = encoder_embedder(encoder)([" ".join(["warm"] * 40), " ".join(["warm"] * 14)])
    np.testing.assert_array_equal(long, cut)


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_encoder_reads_the_tokens_of_its_tokenizer_json(shape: str, class_name: str, tmp_path: Path) -> None:
    """With the special tokens of its post-processor, before and after, whatever class its config names."""
    tokenizer = byte_level(of=SHAPES[shape])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 257), ("</s>", 258)]
    )
    folder = write(tmp_path / "encoder", tokenizer, "bert", tokenizer_class=class_name, pad_token="<|endoftext|>")
    save_bert(folder, tokenizer.get_vocab_size(), 64)
    model = BertModel.from_pretrained(folder).eval()
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = ["Sales of 1990 units", "year 1990 Année", "a"]
    for text, vector in zip(texts, encoder_embedder(folder)(texts), strict=True):
        with torch.no_grad():
            states = model(torch.tensor([file.encode(text).ids])).last_hidden_state
        np.testing.assert_allclose(vector, states[0].mean(0).numpy(), atol=1e-5)


def test_an_encoder_whose_tokenizer_opens_otherwise_is_refused(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Special tokens are compared too."""
    plain = word_level(None)
    adds = word_level("<s> $A")
    monkeypatch.setattr("dynamics.loading.TokenizersBackend.from_pretrained", lambda *_, **__: plain)
    with pytest.raises(CheckpointError, match=r"encoder .* does not open as its tokenizer\.json defines it"):
        encoder_embedder(encoder)
    saved = encoder.parent / "other"
    adds.save_pretrained(saved)
    with pytest.raises(CheckpointError, match=r"does not open as its tokenizer\.json defines it"):
        open_tokenizer(saved)


def test_an_encoder_without_a_tokenizer_json_is_refused_by_name(encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder, folder)
    (folder / "tokenizer.json").rename(folder / "vocab.txt")
    with pytest.raises(
        CheckpointError, match=r"encoder .* holds no tokenizer\.json, and a vocabulary alone may be read"
    ):
        encoder_hash(folder)
    with pytest.raises(CheckpointError, match=r"encoder .* cannot be opened .*tokenizer\.json is missing"):
        encoder_embedder(folder)


@pytest.mark.parametrize("change", ["missing", "another shape"])
def test_an_encoder_that_lacks_weights_is_refused(encoder: Path, tmp_path: Path, change: str) -> None:
    """transformers would draw them at random; the pooler may be missing."""
    folder = tmp_path / "encoder"
    shutil.copytree(encoder, folder)
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert encoder_embedder(folder)(["warm"]).shape == (1, 16)
    kept = {key: tensor for key, tensor in kept.items() if key != name or change != "missing"}
    if change != "missing":
        kept[name] = kept[name][:, :8].contiguous()
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="cannot be opened .*mismatch" if change != "missing" else f"no {name}"):
        encoder_embedder(folder)


def test_a_folder_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"encoder {tmp_path} cannot be opened .*; give a folder that AutoModel"):
        encoder_embedder(tmp_path)


def test_each_text_is_embedded_once() -> None:
    calls: list[list[str]] = []

    def embed(texts) -> np.ndarray:
        calls.append(list(texts))
        return np.array([[len(text), 1.0] for text in texts])

    vectors = EmbeddingCache(embed)
    rows = [Row(str(i), {"a": text, "b": "x"}, 0) for i, text in enumerate(["long", "l", "long"])]
    assert row_text(rows[0]) == "long\nx"
    assert vectors.of_rows(rows).tolist() == [[6, 1], [3, 1], [6, 1]]
    assert vectors.of_rows(rows[::-1]).tolist() == [[6, 1], [3, 1], [6, 1]]
    assert calls == [["l\nx", "long\nx"]]


def test_a_vector_that_is_not_finite_is_refused() -> None:
    with pytest.raises(FailedCheck, match="an embedding holds NaN or infinity"):
        EmbeddingCache(lambda texts: np.full((len(texts), 2), np.nan)).of_rows([Row("a", {"text": "warm"}, 0)])
