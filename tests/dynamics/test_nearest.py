"""Embeddings: mean pooling over a text's own tokens, ragged or not; neighbours on planted vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerBase

from dynamics.errors import CheckpointError, FailedCheck
from dynamics.methods.nearest import EmbeddingCache, checkpoint_embedder, encoder_embedder, nearest, row_text
from dynamics.tasks import Row
from tests.dynamics.test_prompts_bos import tokenizer as word_level
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
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
