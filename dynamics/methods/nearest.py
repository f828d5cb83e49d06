"""Nearest labelled examples of a test example: mean-pooled embeddings, compared by cosine similarity.

The embedding of a text is `mean_t h_t` over its tokens t, with h the final hidden states of the checkpoint itself or of
a sentence encoder. (Paper, section 5: PromptS.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dynamics.errors import CheckpointError, FailedCheck, one_line
from dynamics.families import anatomy as find_anatomy
from dynamics.families.rotary import depends_on_length
from dynamics.forward.batching import budget_for, in_batches
from dynamics.forward.last_token import hidden_states
from dynamics.loading import open_tokenizer
from dynamics.methods.baselines import ENCODER_FOLDER
from dynamics.tasks import Row

Embed = Callable[[Sequence[str]], np.ndarray]
"""A function from texts to their embeddings (text, d), float32."""


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings of rows, each text embedded once, so that equal texts have equal embeddings and tie exactly.

    Attributes:
        embed: computes embeddings.
        by_text: text -> its embedding (d,), filled by `of_rows`.
    """

    embed: Embed
    by_text: dict[str, np.ndarray] = field(default_factory=dict)

    def of_rows(self, rows: Sequence[Row]) -> np.ndarray:
        """The embeddings (row, d) of rows.

        Raises:
            FailedCheck: an embedding is not finite.
        """
        texts = [row_text(row) for row in rows]
        new = sorted({text for text in texts if text not in self.by_text})
        if new:
            embeddings = self.embed(new)
            if not np.isfinite(embeddings).all():
                raise FailedCheck(
                    "an embedding holds NaN or infinity, so nearest examples are not defined; check what embeds"
                )
            self.by_text.update(zip(new, embeddings, strict=True))
        return np.stack([self.by_text[text] for text in texts])


def row_text(row: Row) -> str:
    """The text of a row that is embedded: its fields, one per line, without the words of a template."""
    return "\n".join(row.fields.values())


def nearest(queries: np.ndarray, pool: np.ndarray, n: int) -> np.ndarray:
    """Positions of the pool rows of largest cosine to each query, nearest LAST; in a tie the earlier row is nearer.

    Args:
        queries: (query, d), finite.
        pool: (row, d), finite.
        n: number of neighbours, at most the number of pool rows.

    Returns:
        (query, n) positions in the pool.
    """
    similarity = _unit_length(queries) @ _unit_length(pool).T
    return np.argsort(-similarity, axis=1, kind="stable")[:, :n][:, ::-1]


def checkpoint_embedder(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, token_budget: int | None = None
) -> Embed:
    """Embeddings by a causal language model of a supported family: the mean of its final norm's output.

    A leading BOS is in the input but not in the mean, since its state is the same for all texts. Texts longer than the
    context are cut at its end.
    """
    anatomy = find_anatomy(model)
    limit = model.config.max_position_embeddings

    def embed(texts: Sequence[str]) -> np.ndarray:
        token_ids = [ids[:limit] for ids in tokenizer(list(texts))["input_ids"]]
        starts = [int(len(ids) > 1 and ids[0] == tokenizer.bos_token_id) for ids in token_ids]
        like = [anatomy.frequencies_like(len(ids)) for ids in token_ids]
        budget = budget_for(model, token_budget)
        return _pooled(lambda batch: hidden_states(anatomy, batch), token_ids, starts, budget, like)

    return embed


def encoder_embedder(folder: Path, *, device: str = "cpu", token_budget: int | None = None) -> Embed:
    """Embeddings by the sentence encoder in a folder: the mean over all its tokens, special ones included, in float32.

    Texts longer than the encoder reads are cut. Two positions are left free, since some encoders count positions from
    the pad's id.

    Raises:
        CheckpointError: the folder cannot be opened, lacks weights, or has a tokenizer that is not that of its file.
    """
    model, tokenizer = _open_encoder(folder, device)
    pad = tokenizer.pad_token_id or 0
    limit = min(tokenizer.model_max_length, model.config.max_position_embeddings - 2)

    def run(batch: Sequence[Sequence[int]]) -> Tensor:
        width = max(map(len, batch))
        padded = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in batch], device=model.device)
        lengths = torch.tensor([len(ids) for ids in batch], device=model.device)
        real = torch.arange(width, device=model.device) < lengths[:, None]
        with torch.inference_mode():
            return model(input_ids=padded, attention_mask=real.long()).last_hidden_state

    def embed(texts: Sequence[str]) -> np.ndarray:
        token_ids = tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        apart = [len(ids) for ids in token_ids] if depends_on_length(model) else None
        return _pooled(run, token_ids, [0] * len(token_ids), budget_for(model, token_budget), apart)

    return embed


def _open_encoder(folder: Path, device: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """The encoder and its tokenizer, whose tokens are those of its tokenizer.json, special ones included."""
    transformers_logging.disable_progress_bar()
    settings = {"local_files_only": True, "trust_remote_code": False, "output_loading_info": True}
    try:
        model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **settings)
        tokenizer = open_tokenizer(folder)
    except Exception as error:  # OSError, ValueError, or classes of safetensors and tokenizers
        raise CheckpointError(f"encoder {folder} cannot be opened ({one_line(error)}); {ENCODER_FOLDER}") from error
    # transformers draws at random what the files lack; the pooler is not used
    if absent := sorted(str(key) for key in report["missing_keys"] if not str(key).startswith("pooler.")):
        raise CheckpointError(f"encoder {folder} has no {absent[0]}, which its config.json needs; {ENCODER_FOLDER}")
    return model.to(device).eval().requires_grad_(False), tokenizer


def _pooled(
    run: Callable[[Sequence[Sequence[int]]], Tensor],
    token_ids: Sequence[Sequence[int]],
    starts: Sequence[int],
    token_budget: int,
    apart: Sequence[int] | None = None,
) -> np.ndarray:
    """The mean (text, d) of each text's hidden states from its token `starts` on, float32, pads left out."""

    def means(batch: list[int]) -> tuple[Tensor]:
        hidden = run([token_ids[i] for i in batch])
        pooled = [hidden[row, starts[i] : len(token_ids[i])].float().mean(0) for row, i in enumerate(batch)]
        return (torch.stack(pooled),)

    return in_batches(means, [len(ids) for ids in token_ids], 0, token_budget, apart)[0].numpy()


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    values = vectors.astype(np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float64).tiny)
