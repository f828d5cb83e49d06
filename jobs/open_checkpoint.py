"""A checkpoint in memory: fetched where it is on the Hub, opened, and evicted again after use."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics.checkpoints import Checkpoint, check_init, noted
from dynamics.decomposition import Projections
from dynamics.errors import PlanError
from dynamics.identity import short_hash
from dynamics.loading import load_model, load_tokenizer, unembedding_note
from jobs.fetching import local_files
from jobs.work import CheckpointWork


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint in memory.

    Attributes:
        checkpoint: which one, with its files on disk.
        model, tokenizer: opened.
        device: of the model.
        load_seconds: from the start of fetching to the model on its device.
        projections: unembedding projections of the model, filled as units need them.
    """

    checkpoint: Checkpoint
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: str
    load_seconds: float
    projections: Projections = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """The model's context, in tokens."""
        return self.model.config.max_position_embeddings

    @cached_property
    def tokenizer_content(self) -> str | None:
        """Hash of all that decides the tokens of a text; None for a tokenizer that cannot be written down."""
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        special = (tokenizer.bos_token, tokenizer.unk_token, tokenizer.model_max_length, type(tokenizer).__name__)
        return short_hash(repr((backend.to_str(), special)))


@contextmanager
def open_checkpoint(work: CheckpointWork) -> Iterator[OpenCheckpoint]:
    """Fetch and open a checkpoint; its fetched files may be evicted when the block ends.

    Raises:
        CheckpointError: it cannot be fetched or opened.
        UnsupportedModel: no family covers it.
    """
    check_init(work.checkpoint)
    started = time.perf_counter()
    device = resolve_device(work.settings.device)
    keep_to_share(device, work.settings.resources.num_gpus)
    with local_files(work) as checkpoint:
        model = load_model(checkpoint, dtype=work.all_units[0].dtype, device=device)
        tokenizer = load_tokenizer(checkpoint)
        known = noted(checkpoint, unembedding_note(model))
        yield OpenCheckpoint(known, model, tokenizer, device, time.perf_counter() - started)


def keep_to_share(device: str, num_gpus: float) -> None:
    """Limit this process to its share of a GPU's memory, so that workers on one GPU do not take each other's."""
    if device.startswith("cuda") and 0 < num_gpus < 1:
        torch.cuda.set_per_process_memory_fraction(num_gpus, torch.device(device).index)


def resolve_device(device: str) -> str:
    """`auto` is CUDA where there is one, else the CPU.

    Raises:
        PlanError: CUDA is requested by name, and this process has no such device.
    """
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= n_devices:
        raise PlanError(
            f"device = {device!r}, but this worker has {n_devices} CUDA devices; request them with num_gpus in "
            '[resources], or set device = "auto" or "cpu"'
        )
    return device if device != "auto" else "cuda" if n_devices else "cpu"
