"""Tiny models with every parameter perturbed: zero biases and unit gains would hide errors."""

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from dynamics.reference import suite
from tests.models import tiny_neox


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The reference suite's tokenizer."""
    return AutoTokenizer.from_pretrained(suite.checkpoints_dir() / "step0", local_files_only=True)


@pytest.fixture(scope="session")
def neox(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A GPT-NeoX with parallel residual and the reference vocabulary."""
    return tiny_neox(len(tokenizer), parallel=True)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests share two cores with Ray's workers; tiny matrices gain nothing from threads."""
    torch.set_num_threads(1)
