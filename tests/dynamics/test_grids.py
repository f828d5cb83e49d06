"""Step grids of repositories, and messages about missing steps."""

from pathlib import Path

import pytest

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import PlanError
from dynamics.grids import name_pattern, select_steps, steps_by_name
from dynamics.suites import suite_of, suites

GRIDS = {suite.name: suite.grids for suite in suites()}["pythia"]


def test_the_named_grids() -> None:
    assert len(GRIDS["all"]) == 154
    assert GRIDS["paper"][:4] == (0, 16, 512, 5000)
    assert GRIDS["paper"][-2:] == (140_000, 143_000)
    assert len(GRIDS["paper"]) == 32
    assert {1, 256, 512, 4000, 10_000, 15_000, 143_000} <= set(GRIDS["dense"])
    assert not {11_000, 141_000} & set(GRIDS["dense"])
    assert all(set(GRIDS[name]) <= set(GRIDS["all"]) and list(GRIDS[name]) == sorted(GRIDS[name]) for name in GRIDS)


@pytest.mark.parametrize(
    ("model", "n"),
    [
        ("EleutherAI/pythia-6.9b", 154),
        ("EleutherAI/pythia-12b-deduped", 154),
        ("EleutherAI/pythia-14m-deduped", 154),
        ("EleutherAI/pythia-410m-seed9", 154),
        ("EleutherAI/pythia-160m-weight-seed3", 154),
        ("EleutherAI/pythia-70m-v0", 143),
        ("EleutherAI/pythia-1.4b-deduped-v0", 143),
    ],
)
def test_every_pythia_repository_has_its_steps(model: str, n: int) -> None:
    suite = suite_of(model)
    assert suite is not None
    assert len(suite.published_steps(model) or ()) == n
    assert [stage.tokens_per_step for stage in suite.stages_of(model)] == [2_097_152]


@pytest.mark.parametrize(
    "model", ["EleutherAI/pythia-13m-deduped", "allenai/OLMo-2-1124-8B", "pythia-70m", "a/pythia-70m"]
)
def test_other_models_have_no_published_steps(model: str) -> None:
    assert suite_of(model) is None


def test_a_grid_of_v0_leaves_out_the_early_steps_it_never_had() -> None:
    linear = range(1000, 143_001, 1000)
    assert select_steps("paper", "EleutherAI/pythia-70m-v0", linear)[0] == 5000


def test_missing_steps_are_named_with_the_nearest_there_are() -> None:
    with pytest.raises(PlanError, match=r"512 \(nearest: 256 and 1000\), 2000 \(nearest: 1000\)"):
        select_steps([0, 512, 2000], "a/b", [0, 256, 1000])
    assert select_steps([0, 512, 2000], "a/b", [0, 256, 1000], strict=False) == [0]


def test_a_grid_of_an_unknown_suite_is_refused() -> None:
    with pytest.raises(PlanError, match="no grid 'paper'; give all"):
        select_steps("paper", "a/b", [0, 1])
    assert select_steps("all", "a/b", [4, 0]) == [0, 4]


def test_tokens_come_from_the_suite_or_from_the_name() -> None:
    assert steps_by_name("EleutherAI/pythia-70m", ["step3000"])[3000].tokens_seen == 3000 * 2_097_152
    olmo = steps_by_name(
        "allenai/OLMo-2-1124-7B",
        ["main", "stage1-step150-tokens1B", "stage1-step101000-tokens424B", "stage2-ingredient1-step1000-tokens5B"],
        "stage1-step{step}-tokens{n}B",
    )
    assert {step: name.tokens_seen for step, name in olmo.items()} == {150: 10**9, 101_000: 424 * 10**9}
    assert steps_by_name("a/b", ["checkpoint-5"], "checkpoint-{step}")[5].tokens_seen is None


@pytest.mark.parametrize(
    "text", ["step", "{step}-{step}", "{step}{x}", "../step{step}", "a/{step}", "step{step} ", "{step}.."]
)
def test_patterns_that_are_none(text: str) -> None:
    with pytest.raises(PlanError, match="must hold"):
        name_pattern(text)


def test_a_pattern_is_literal_but_for_its_fields() -> None:
    assert name_pattern("a.b{step}").fullmatch("a.b7")
    assert not name_pattern("a.b{step}").fullmatch("aXb7")


def test_two_names_of_one_step_are_refused() -> None:
    with pytest.raises(PlanError, match="'step01' and 'step1' for step 1"):
        steps_by_name("a/b", ["step1", "step01"])


def test_a_stage_is_not_taken_for_a_number_of_tokens_by_any_command(tmp_path: Path) -> None:
    """`stage{n}` once gave 10^9 tokens a stage."""
    (tmp_path / "stage3-step-5").mkdir()
    (tmp_path / "stage3-step-5" / "config.json").write_text("{}")
    with pytest.raises(PlanError, match=r"pattern 'stage\{n\}-step-\{step\}': \{n\} is the number of training tokens"):
        find_checkpoints("mine", folder=tmp_path, pattern="stage{n}-step-{step}")
    (checkpoint,) = find_checkpoints("mine", folder=tmp_path, pattern="stage3-step-{step}")
    assert (checkpoint.step, checkpoint.tokens_seen) == (5, None)


@pytest.mark.parametrize("text", ["stage{n}-step{step}", "stage{n}-step-{step}", "step{step}-run{n}", "{n}Bx-{step}"])
def test_a_second_number_that_counts_no_tokens_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"\{n\} is the number of training tokens in billions, followed by B"):
        name_pattern(text)
    assert name_pattern("step{step}-{n}B").fullmatch("step5-2B")
