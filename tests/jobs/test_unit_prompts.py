"""Prompts of units: made once for checkpoints with the same tokenizer, the same as made anew, and bounded."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cachetools import LRUCache

from dynamics.checkpoints import find_checkpoints
from dynamics.loading import load_tokenizer
from dynamics.prompts import PromptSet, build_prompts
from dynamics.tasks import get_task
from jobs import unit_prompts as module
from jobs.open_checkpoint import OpenCheckpoint
from jobs.unit_prompts import unit_prompts
from jobs.work import WorkUnit
from tests.models import tiny_neox

TASK = get_task("wordmap")
ROWS = TASK.load(None)


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Demonstration seeds of the prompts that are built, from an empty state."""
    seeds: list[int] = []

    def counted(*arguments: object, **options: object) -> PromptSet:
        seeds.append(int(str(options["demo_seed"])))
        return build_prompts(*arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(module, "build_prompts", counted)
    module._kept.clear()
    yield seeds
    module._kept.clear()


def opened(step: int) -> OpenCheckpoint:
    (checkpoint,) = find_checkpoints("reference", [step])
    return OpenCheckpoint(checkpoint, tiny_neox(300, parallel=True), load_tokenizer(checkpoint), "cpu", 0.0)


def unit(step: int = 0, seed: int = 0, **changes: object) -> WorkUnit:
    (checkpoint,) = find_checkpoints("reference", [step])
    made = WorkUnit(checkpoint, "wordmap", "hash", TASK.templates[0], seed, 4, 12, 4, "float32", "none")
    return replace(made, **changes)


def test_another_checkpoint_has_the_same_prompts_without_building_them(built: list[int]) -> None:
    first = unit_prompts(opened(0), unit(0), TASK, ROWS)
    second = unit_prompts(opened(512), unit(512), TASK, ROWS)
    assert first == second
    assert first.digest == second.digest
    assert built == [0]


def test_whatever_decides_the_prompts_tells_them_apart(built: list[int]) -> None:
    here = opened(0)
    unit_prompts(here, unit(), TASK, ROWS)
    changes: list[dict[str, object]] = [
        {"demo_seed": 1},
        {"n_shots": 2},
        {"n_test": 8},
        {"n_train": 2},
        {"task_hash": "other"},
        {"template": TASK.templates[1]},
    ]
    for change in changes:
        unit_prompts(here, unit(**change), TASK, ROWS)
    unit_prompts(here, unit(), TASK, ROWS, "permuted_demonstrations-0")
    other = opened(0)
    other.tokenizer.add_tokens(["something"])
    unit_prompts(other, unit(), TASK, ROWS)
    here.model.config.max_position_embeddings = 64
    unit_prompts(here, unit(), TASK, ROWS)
    assert len(built) == 1 + len(changes) + 3


def test_no_more_tokens_are_kept_than_allowed(built: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    here = opened(0)
    n = sum(map(len, unit_prompts(here, unit(), TASK, ROWS).own_ids))
    monkeypatch.setattr(module, "_kept", LRUCache(2 * n + n // 2, getsizeof=module._kept.getsizeof))
    for seed in (1, 0, 2, 0, 1):  # 2 takes the place of 1, which was used longest ago
        unit_prompts(here, unit(seed=seed), TASK, ROWS)
    assert built == [0, 1, 0, 2, 1]
