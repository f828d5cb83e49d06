"""Controls: labels that say nothing, weights that were drawn; both the same again from the same seed."""

from collections import Counter
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamics.checkpoints import Checkpoint, check_init, find_checkpoints, random_init
from dynamics.controls import (
    abstract_template,
    control_name,
    controlled_rows,
    controlled_selection,
    shuffled_labels,
)
from dynamics.errors import CheckpointError, PromptError
from dynamics.loading import load_model
from dynamics.partition import select_rows
from dynamics.tasks import Row, Task, TaskRows, Template

LENDER = Task("lender", 2, ("a", "b"), (Template("t", "{text} {label}"),), lambda _: ROWS, "made here")
BORROWER = replace(LENDER, name="borrower", demonstrations_of="lender")
ROWS = TaskRows(
    pool=tuple(Row(f"pool-{i}", {"text": "ab"[i % 2]}, i % 2) for i in range(200)),
    test=tuple(Row(f"test-{i}", {"text": "ab"[i % 2]}, i % 2) for i in range(200)),
)
"""Every text is its label."""


def golds(rows: tuple[Row, ...]) -> list[int]:
    return [row.gold for row in rows]


def test_only_labels_change_and_their_counts_stay() -> None:
    shuffled = shuffled_labels(LENDER, ROWS, seed=0)
    for before, after in ((ROWS.pool, shuffled.pool), (ROWS.test, shuffled.test)):
        assert [replace(row, gold=0) for row in before] == [replace(row, gold=0) for row in after]
        assert Counter(golds(before)) == Counter(golds(after))
        assert golds(before) != golds(after)
    assert shuffled == shuffled_labels(LENDER, ROWS, seed=0) != shuffled_labels(LENDER, ROWS, seed=1)
    assert golds(shuffled.pool) != golds(shuffled.test)


def test_the_control_is_named_in_the_column_and_others_leave_rows_alone() -> None:
    assert controlled_rows(LENDER, ROWS, control_name("shuffled_labels", 3)) == shuffled_labels(LENDER, ROWS, 3)
    for control in ("none", control_name("random_init", 3)):
        assert controlled_rows(LENDER, ROWS, control) is ROWS


def test_no_label_says_anything_of_a_text_nor_of_another_rows_label() -> None:
    """Who reads the label off the text is right on half of all chosen rows, over seeds; demonstrations included."""
    ask = {"demo_seed": 0, "n_shots": 8, "n_test": 100, "n_train": 24}
    right: dict[str, list[float]] = {"demonstrations": [], "train": [], "test": []}
    for seed in range(200):
        chosen = select_rows(LENDER, shuffled_labels(LENDER, ROWS, seed), **ask)
        for part, shares in right.items():
            shares.append(np.mean([row.gold == "ab".index(row.fields["text"]) for row in getattr(chosen, part)]))
    for part, n in (("demonstrations", 8), ("train", 24), ("test", 100)):
        assert np.mean(right[part]) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(200 * n))
    correlation = np.corrcoef(right["train"], right["test"])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(200)


def test_a_transfer_task_shares_its_demonstrations_with_the_lender() -> None:
    lent, borrowed = (shuffled_labels(task, ROWS, seed=5) for task in (LENDER, BORROWER))
    assert lent.pool == borrowed.pool
    assert lent.test != borrowed.test


@pytest.fixture
def checkpoint(suite_folder: Path) -> Checkpoint:
    return find_checkpoints("tiny", (4,), suite_folder)[0]


def test_drawn_weights_are_the_seeds_own_and_leave_no_trace(checkpoint: Checkpoint) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = load_model(random_init(checkpoint, 0))
    assert torch.equal(torch.rand(3), expected)
    again, other = load_model(random_init(checkpoint, 0)), load_model(random_init(checkpoint, 1))
    for (name, a), b in zip(first.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_nothing_of_the_checkpoint_but_its_shape_is_left(checkpoint: Checkpoint) -> None:
    trained, initialised = load_model(checkpoint), load_model(random_init(checkpoint, 0), dtype="bfloat16")
    assert initialised.dtype == torch.bfloat16
    random_parameters = dict(initialised.named_parameters())
    assert {n: p.shape for n, p in trained.named_parameters()} == {n: p.shape for n, p in random_parameters.items()}
    for name, parameter in trained.named_parameters():
        assert not torch.allclose(parameter, random_parameters[name].float(), atol=1e-2), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_its_positions_are_those_of_the_checkpoint(checkpoint: Checkpoint, dtype: str) -> None:
    """Rotary frequencies are buffers, which transformers leaves in float32 in half precision too."""
    trained, initialised = (
        dict(load_model(c, dtype=dtype).named_buffers()) for c in (checkpoint, random_init(checkpoint, 0))
    )
    assert trained.keys() == initialised.keys()
    for name, buffer in trained.items():
        assert torch.equal(buffer, initialised[name]), name
        assert buffer.dtype == initialised[name].dtype == torch.float32


def test_its_hash_covers_what_determines_it(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    control = random_init(checkpoint, 0)
    assert (control.step, control.tokens_seen, control.revision, control.init_seed) == (0, 0, "random_init-0", 0)
    assert control.commit_sha == f"init:{control.content_hash}"
    assert (control.flags, control.notes, str(control)) == ((), (), "tiny random_init-0")
    others = [random_init(checkpoint, 1), random_init(replace(checkpoint, setup_hash="other"), 0)]
    monkeypatch.setattr("dynamics.checkpoints.version", lambda name: "0" if name == "torch" else version(name))
    others.append(random_init(checkpoint, 0))
    assert len({control.content_hash, *(other.content_hash for other in others)}) == 4
    monkeypatch.undo()
    assert random_init(replace(checkpoint, content_hash="other weights"), 0).content_hash == control.content_hash


def test_a_worker_with_other_versions_makes_no_random_weights(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = random_init(checkpoint, 0)
    check_init(control)
    check_init(checkpoint)
    monkeypatch.setattr("dynamics.checkpoints.version", lambda name: "0" if name == "torch" else version(name))
    check_init(checkpoint)
    with pytest.raises(CheckpointError, match=r"this worker has torch 0 and .* install the same versions on all nodes"):
        check_init(control)


def test_without_the_package_that_makes_them_there_are_no_random_weights(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("dynamics.checkpoints.version", missing)
    with pytest.raises(CheckpointError, match=r"the version of torch, which is not installed here; install it, or"):
        random_init(checkpoint, 0)


def test_permuted_demonstrations_have_other_labels_and_the_rest_stays() -> None:
    task = replace(LENDER, n_labels=3, label_words=("a", "b", "c"))
    rows = TaskRows(*(tuple(Row(f"{p}-{i}", {"text": "x"}, i % 3) for i in range(90)) for p in ("pool", "test")))
    chosen = select_rows(task, rows, demo_seed=0, n_shots=6, n_test=30, n_train=6)
    shifts = []
    for seed in range(3):
        permuted = controlled_selection(task, chosen, control_name("permuted_demonstrations", seed))
        assert (permuted.train, permuted.test) == (chosen.train, chosen.test)
        moved = {(a.gold, b.gold) for a, b in zip(chosen.demonstrations, permuted.demonstrations, strict=True)}
        assert len(moved) == 3, "one label became several, or several one"
        assert all(own != other for own, other in moved)
        shifts.append(moved)
    assert shifts[0] != shifts[1]
    assert shifts[0] == shifts[2]
    assert controlled_selection(task, chosen, "shuffled_labels-0") is chosen


def test_abstract_label_words_are_drawn_by_seed_and_too_few_are_refused() -> None:
    words = ("x", "y", "z", "w")
    template = LENDER.templates[0]
    drawn = {seed: abstract_template(LENDER, template, words, seed, 0).label_words for seed in range(20)}
    assert all(own is not None and set(own) < set(words) and len(set(own)) == 2 for own in drawn.values())
    assert len(set(drawn.values())) > 4
    assert drawn[0] == abstract_template(LENDER, template, words, 0, 0).label_words
    with pytest.raises(PromptError, match="has 2 labels and abstract_label_words has 1 words"):
        abstract_template(LENDER, template, ("x",), 0, 0)
