"""The identity on real SST-2, RTE and ARC-Easy rows under a real vocabulary: every family, random and trained."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from dynamics.checkpoints import find_checkpoints
from dynamics.decomposition import decompose, relative_error
from dynamics.families import FAMILIES
from dynamics.loading import load_model, load_tokenizer
from dynamics.prompts import PromptSet, build_prompts
from dynamics.tasks import get_task
from tests.dynamics.test_decomposition import one_by_one
from tests.models import VARIANTS, perturbed
from tests.real_rows import needs_real_rows, neox_tokenizer, real_rows

REAL = {"sst2": "paper", "rte": "follows", "arc_easy": "exam"}
"""Task -> template."""
CONTEXT = 1024
N_STEPS, BATCH = 30, 8

every_family = pytest.mark.parametrize("family", FAMILIES)
every_task = pytest.mark.parametrize("task", REAL)


@dataclass(frozen=True)
class Trained:
    """A model and the mean loss of the first and of the last five steps that made it, in nats."""

    model: PreTrainedModel
    first: float
    last: float


def config_of(family: str) -> PreTrainedConfig:
    """The family's first tiny config, with the real vocabulary and a context that real prompts fit."""
    config = copy.deepcopy(next(config for config in VARIANTS.values() if config.model_type == family))
    config.vocab_size = len(neox_tokenizer())
    config.max_position_embeddings = CONTEXT
    return config


@cache
def prompts_of(task: str, *, n_shots: int = 4, n_test: int = 6, n_train: int = 4) -> PromptSet:
    """Prompts of real rows."""
    ask = {"demo_seed": 0, "n_shots": n_shots, "n_test": n_test, "n_train": n_train}
    rows = real_rows(task)
    return build_prompts(get_task(task), REAL[task], neox_tokenizer(), rows=rows, max_length=CONTEXT, **ask)


@cache
def trained(family: str) -> Trained:
    """A model that learnt for a few seconds to answer real prompts: no parameter is where it was drawn."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of(family), dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    losses = []
    for ids, targets in islice(endless_batches(), N_STEPS):
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids, logits_to_keep=1).logits[:, -1], targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return Trained(model.eval().requires_grad_(False), float(np.mean(losses[:5])), float(np.mean(losses[-5:])))


def endless_batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(example, token) and (example,) label tokens: the ends of real prompts, all as long as the shortest."""
    sets = [prompts_of(task, n_shots=0, n_test=4, n_train=60) for task in REAL]
    rng = np.random.default_rng(0)
    while True:
        for prompts in sets:
            chosen = rng.choice(len(prompts.gold), BATCH, replace=False).tolist()
            own = [prompts.token_ids(i) for i in chosen]
            length = min(map(len, own))
            targets = [prompts.label_ids[prompts.gold[i]] for i in chosen]
            yield torch.tensor([ids[-length:] for ids in own]), torch.tensor(targets)


def check(model: PreTrainedModel, prompts: PromptSet) -> None:
    """Parts sum to logits, and these are the model's own on every prompt, whole, alone and unpadded."""
    split, own = decompose(model, prompts), one_by_one(model, prompts)
    assert split.error < 1e-5
    assert relative_error(split.full, own) < 1e-5
    assert relative_error(split.contributions.sum(1) + split.constant, own) < 1e-5


@needs_real_rows
@every_task
@every_family
def test_a_random_model_of_every_family_on_real_rows(family: str, task: str) -> None:
    check(perturbed(config_of(family)), prompts_of(task))


@needs_real_rows
@every_task
@every_family
def test_a_trained_model_of_every_family_on_real_rows(family: str, task: str) -> None:
    found = trained(family)
    learnt = 3.5 if family.startswith("apertus") else 5  # in nats; Apertus learns slowest, 10.7 to 7.0
    assert found.last < found.first - learnt
    check(found.model, prompts_of(task))


@needs_real_rows
@every_family
def test_training_moved_every_parameter(family: str) -> None:
    torch.manual_seed(0)
    drawn = dict(AutoModelForCausalLM.from_config(config_of(family), dtype=torch.float32).named_parameters())
    for name, parameter in trained(family).model.named_parameters():
        assert not torch.equal(parameter, drawn[name]), name


@pytest.mark.parametrize("task", ["sentiment", "topic", "wordmap"])
def test_the_reference_suites_last_checkpoint_on_its_own_tasks(task: str) -> None:
    (last,) = find_checkpoints("reference", (1024,))
    ask = {"demo_seed": 0, "n_shots": 8, "n_test": 8, "n_train": 4}
    check(load_model(last), build_prompts(get_task(task), "plain", load_tokenizer(last), **ask))
