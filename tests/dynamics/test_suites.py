"""Suites: their files, the steps and tokens that their revisions' names mean, and how plans choose among them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError, PlanError
from dynamics.grids import AtTokens, StepName, name_pattern, named_grid, select_steps, steps_by_name
from dynamics.hub import disk
from dynamics.suites import Run, Suite, all_models, read_suite, suite_of, suites
from jobs.model_plan import ModelPlan
from jobs.resolving import resolve_plan
from jobs.sweep_plan import read_plan
from tests import hub_models as models
from tests.hub_server import FakeHub

B, T = 10**9, 10**12
OLMO2 = "allenai/OLMo-2-1124-7B"
# What lists of revisions and cards say, written here once more: revision -> (step, tokens), counted through the run.
PUBLISHED: dict[tuple[str, str | None], dict[str, tuple[int, int | None]]] = {
    ("EleutherAI/pythia-70m-v0", None): {
        f"step{n}": (n, n * 2_097_152) for n in range(1000, 143_001, 1000)
    },
    ("EleutherAI/pythia-14m-seed3", None): {
        f"step{n}": (n, n * 2_097_152) for n in (0, *(2**k for k in range(10)), *range(1000, 143_001, 1000))
    },
    ("allenai/OLMo-1B-hf", None): {
        "step1000-tokens4B": (1000, 4 * B),
        "step738000-tokens3094B": (738_000, 3094 * B),
    },
    ("allenai/OLMo-7B-hf", None): {"step650650-tokens2728B": (650_650, 2728 * B)},
    ("allenai/OLMo-1B-0724-hf", None): {
        "step1000-tokens2B": (1000, 2 * B),
        "step1454000-tokens3048B": (1_454_000, 3048 * B),
    },
    ("allenai/OLMo-2-0425-1B-early-training", None): {"stage1-step1000-tokens3B": (1000, 3 * B)},
    ("allenai/OLMo-2-0425-1B", None): {"stage1-step10000-tokens21B": (10_000, 21 * B)},
    (OLMO2, None): {
        "step150-tokens1B": (150, B),
        "stage1-step1000-tokens5B": (1000, 5 * B),
        "stage1-step928646-tokens3896B": (928_646, 3896 * B),
    },
    (OLMO2, "stage2-ingredient1"): {"stage2-ingredient1-step11931-tokens50B": (940_577, 3946 * B)},
    ("allenai/OLMo-2-1124-13B", None): {"stage1-step596057-tokens5001B": (596_057, 5001 * B)},
    ("allenai/OLMo-2-0325-32B", None): {"stage1-step721901-tokens6056B": (721_901, 6056 * B)},
    ("allenai/Olmo-3-1025-7B", None): {"stage1-step1413814": (1_413_814, 1_413_814 * 2**22)},
    ("allenai/Olmo-3-1025-7B", "stage2"): {"stage2-step47684": (1_461_498, 6_029_966_311_424)},
    ("allenai/Olmo-3-1025-7B", "stage3"): {"stage3-step11921": (1_473_419, 6_079_966_609_408)},
    ("allenai/Olmo-3-1125-32B", None): {"stage1-step656000": (656_000, 656_000 * 2**23)},
    ("HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints", None): {"step-125000": (125_000, 125_000 * 2**21)},
    ("HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints", None): {"step-160000": (160_000, 160_000 * 1_572_864)},
    ("HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints", None): {"step-240000": (240_000, 240_000 * 2**20)},
    ("HuggingFaceTB/SmolLM3-3B-checkpoints", None): {"stage1-step-40000": (40_000, 40_000 * 2_359_296)},
    ("HuggingFaceTB/SmolLM3-3B-checkpoints", "stage3"): {"stage3-step-4720000": (4_720_000, 4_720_000 * 2_359_296)},
    ("LLM360/Amber", None): {
        "ckpt_000": (0, 3_497_600_000),
        "ckpt_358": (358, 359 * 3_497_600_000),
        "main": (359, 360 * 3_497_600_000),
    },
    ("LLM360/K2", None): {"ckpt_359": (359, 359 * 3_931_400_000)},
    ("stanford-crfm/expanse-gpt2-small-x777", None): {
        "checkpoint-10": (10, 10 * 2**19),
        "checkpoint-400000": (400_000, 400_000 * 2**19),
    },
    ("stanford-crfm/eowyn-gpt2-medium-x777", None): {
        "checkpoint-0": (0, 0),
        "checkpoint-400000": (400_000, 400_000 * 2**19),
    },
    ("TinyLlama/tinyLlama-intermediate-checkpoints", None): {
        "step-50k-token-105B": (50_000, 105 * B),
        "step-720k-token-1510B": (720_000, 1510 * B),
    },
    ("swiss-ai/Apertus-8B-2509", None): {
        "step50000-tokens210B": (50_000, 210 * B),
        "step2627139-tokens15T": (2_627_139, 15 * T),
    },
}  # fmt: skip


@pytest.mark.parametrize("suite", suites(), ids=lambda suite: suite.name)
def test_a_file_says_all_that_is_needed(suite: Suite) -> None:
    for run in suite.runs:
        assert run.parameters > 10**7
        assert isinstance(run.published, tuple | None) or run.published in suite.grids
        for model in run.ids:
            stages = suite.stages_of(model)
            assert len({stage.name for stage in stages}) == len(stages)
            for stage in stages:
                assert all(name_pattern(pattern, of_paths=stage.layout != "revisions") for pattern in stage.patterns)
                assert stage.tokens == "read" or stage.tokens_per_step is not None
                assert (stage.first_step > 0) <= (stage.first_tokens > 0)
    own = [model for run in suite.runs for model in run.ids]
    assert all(any(fnmatchcase(model, erratum.model) for model in own) for erratum in suite.errata)


def test_every_model_is_in_one_suite_and_every_runnable_suite_is_tested() -> None:
    ids = list(all_models())
    assert len(set(ids)) == len(ids)
    tested = {suite.name for model, _ in PUBLISHED if (suite := suite_of(model))}
    assert tested == {suite.name for suite in suites() if suite.refused is None}


def add(hub: FakeHub, repo: str, names: Iterable[str], **others: models.Files) -> None:
    """Branches with weights of their own, and others."""
    for i, name in enumerate(names):
        hub.add(repo, name, models.single(i))
    for name, files in others.items():
        hub.add(repo, name, files)


@pytest.mark.parametrize(("model", "stage"), PUBLISHED, ids=lambda value: str(value).rpartition("/")[2])
def test_revisions_are_found_by_the_real_client_with_step_and_tokens(
    hub: FakeHub, model: str, stage: str | None
) -> None:
    expected = PUBLISHED[model, stage]
    add(hub, model, expected)
    if "main" not in expected:
        hub.add(model, "main", {".gitattributes": b""})  # as in some repositories
    for other, names in PUBLISHED.items():
        if other[0] == model and other[1] != stage:
            add(hub, model, names)
    found = find_checkpoints(model, stage=stage, unverified=True)
    assert {c.revision: (c.step, c.tokens_seen) for c in found} == expected
    first = suite_of(model)
    assert first is not None
    later = stage is not None and stage != first.stages_of(model)[0].name
    assert {c.model for c in found} == {f"{model}@{stage}" if later else model}
    assert all(c.remote is not None and c.remote.repo == model for c in found)


def test_what_cannot_be_run_or_is_not_verified_is_refused_before_any_request(hub: FakeHub) -> None:
    with pytest.raises(PlanError, match=r"CrystalCoder \(LLM360 Crystal\) cannot be run: its code is not in transfor"):
        find_checkpoints("LLM360/CrystalCoder")
    with pytest.raises(PlanError, match=r"CrystalCoder \(LLM360 Crystal\) cannot be run"):
        find_checkpoints("LLM360/CrystalCoder", revision="main")
    for model in ("LLM360/Amber", "LLM360/K2"):
        with pytest.raises(PlanError, match=r"its tokens per step could not be verified .* add unverified = true"):
            find_checkpoints(model)
    with pytest.raises(PlanError, match=r"unknown stage of .*'stage2-ingredient9'; did you mean 'stage2-ingredient"):
        find_checkpoints(OLMO2, stage="stage2-ingredient9")
    with pytest.raises(PlanError, match="is of no known suite, so it has no stage 'x'"):
        find_checkpoints("a/b", stage="x")
    assert not hub.requests


def test_a_pattern_in_place_of_a_suite_needs_nothing_verified(hub: FakeHub) -> None:
    add(hub, "LLM360/Amber", ["ckpt_010"])
    (found,) = find_checkpoints("LLM360/Amber", pattern="ckpt_{step}")
    assert (found.step, found.tokens_seen) == (10, None)


def test_a_plan_with_a_pattern_keeps_its_units_now_that_the_suite_is_known(hub: FakeHub, tmp_path: Path) -> None:
    """Steps by a pattern are those of the names, whatever the suite says of its stages."""
    add(hub, OLMO2, ["stage1-step1000-tokens5B", "stage2-ingredient1-step1000-tokens5B"])
    task = '[[tasks]]\nname = "sentiment"\ntemplates = ["plain"]\ndemo_seeds = 1\nn_test = 8\nn_train = 2\n'

    def units(keys: str) -> list[tuple[str, int, str]]:
        (tmp_path / "plan.toml").write_text(f'name = "x"\n[[models]]\nid = "{OLMO2}"\n{keys}\n{task}')
        resolved = resolve_plan(read_plan(tmp_path / "plan.toml")).units
        return [(unit.checkpoint.model, unit.checkpoint.step, unit.unit_id) for unit in resolved]

    by_pattern = units('pattern = "stage1-step{step}-tokens{n}B"')
    assert by_pattern == units("") == units('stage = "stage1"')
    (annealing,) = units('pattern = "stage2-ingredient1-step{step}-tokens{n}B"')
    assert annealing[:2] == (OLMO2, 1000)
    (counted_on,) = units('stage = "stage2-ingredient1"')
    assert counted_on[:2] == (f"{OLMO2}@stage2-ingredient1", 929_646)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("EleutherAI/pythia-13m", "EleutherAI/pythia-31m"),
        ("eleutherai/pythia-410m", "EleutherAI/pythia-410m"),
        ("allenai/OLMo2-1124-7B", OLMO2),
        ("TinyLlama/tinyllama-intermediate-checkpoint", "TinyLlama/tinyLlama-intermediate-checkpoints"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_an_unknown_repository_that_resembles_one_gets_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(CheckpointError, match=f"there is no such repository.*did you mean '{right}"):
        find_checkpoints(wrong)
    with pytest.raises(CheckpointError) as error:
        find_checkpoints("someone/something-else")
    assert "did you mean" not in str(error.value)


def names(*pairs: tuple[int, int | None]) -> dict[int, StepName]:
    return {step: StepName(step, f"step{step}", tokens) for step, tokens in pairs}


def test_steps_are_chosen_by_their_tokens() -> None:
    run = names((0, 0), (1000, 2 * B), (2000, 4 * B), (10_000, 20 * B), (11_000, None))
    assert select_steps(AtTokens((0, 2 * B, 3 * 10**9, 22 * B)), "a/b", run, strict=False) == [0, 1000, 10_000]
    assert select_steps(AtTokens((4 * B, 42 * 10**8)), "a/b", run) == [2000]
    with pytest.raises(
        PlanError, match=r"within 25% of 1 of the numbers of tokens: 1e\+10 \(nearest: step 2000 with 4e"
    ):
        select_steps(AtTokens((2 * B, 10 * B)), "a/b", run)
    with pytest.raises(PlanError, match=r"with 2e\+10\); change `tokens`$"):
        select_steps(AtTokens((100 * B,)), "a/b", run, strict=False)
    with pytest.raises(
        PlanError, match=r"its steps are not known, so `tokens` cannot choose them; give tokens_per_step"
    ):
        select_steps(AtTokens((B,)), "a/b", names((1, None)))


def test_numbers_of_tokens_that_are_left_out_are_said(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(hub, "a/b", ["step1", "step2"])
    for i in (1, 2):
        (tmp_path / f"step{i}").mkdir()
        for name, content in models.single(i).items():
            (tmp_path / f"step{i}" / name).write_bytes(content)
    at, options = AtTokens((10, 90)), {"tokens_per_step": 10, "missing": "skip"}
    for folder in (None, tmp_path):
        assert [c.step for c in find_checkpoints("a/b", at, folder, **options)] == [1]
        assert 'a/b: missing = "skip" leaves out tokens 90: no checkpoint is near' in capsys.readouterr().err
        with pytest.raises(
            PlanError, match=r"no checkpoint within 25% of 1 of the numbers of tokens: 90 \(nearest: step 2"
        ):
            find_checkpoints("a/b", AtTokens((90,)), folder, **options)


def test_tokens_per_step_of_a_plan_are_those_of_the_stage(hub: FakeHub) -> None:
    add(hub, OLMO2, ["stage2-ingredient1-step1000-tokens5B"])
    (found,) = find_checkpoints(OLMO2, stage="stage2-ingredient1", tokens_per_step=7)
    assert (found.step, found.tokens_seen) == (929_646, 3896 * B + 7000)


def test_a_revision_by_name_needs_nothing_verified(hub: FakeHub) -> None:
    add(hub, "LLM360/Amber", ["ckpt_010", "main"])
    (found,) = find_checkpoints("LLM360/Amber", revision="main")
    assert (found.model, found.step, found.tokens_seen) == ("LLM360/Amber", 1, None)


def test_two_suites_are_compared_at_the_same_tokens(hub: FakeHub) -> None:
    add(hub, "EleutherAI/pythia-70m-v0", [f"step{n}" for n in (1000, 2000, 5000)])
    add(hub, "allenai/OLMo-1B-0724-hf", [f"step{n}-tokens{2 * n // 1000}B" for n in (1000, 2000, 4000)])
    at = AtTokens((2 * B, 4 * B))
    pythia, olmo = (find_checkpoints(model, at) for model in ("EleutherAI/pythia-70m-v0", "allenai/OLMo-1B-0724-hf"))
    assert [c.step for c in pythia] == [c.step for c in olmo] == [1000, 2000]
    assert [c.tokens_seen for c in olmo] == [2 * B, 4 * B]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"tokens": [1e9, 10_000_000_000]}, AtTokens((B, 10 * B))),
        ({"tokens": {"from": 0, "to": 3e9, "every": 1e9}}, AtTokens((0, B, 2 * B, 3 * B))),
        ({"steps": {"from": 0, "to": 4, "every": 2}}, (0, 2, 4)),
        ({}, "all"),
    ],
)
def test_a_plan_asks_by_steps_or_by_tokens(keys: dict[str, Any], expected: object) -> None:
    assert ModelPlan.model_validate({"id": "a/b", **keys}).requested == expected


@pytest.mark.parametrize("keys", [{"tokens": [1.5]}, {"tokens": []}, {"tokens": [1e9], "steps": [1]}, {"layout": "x"}])
def test_a_plan_that_asks_in_no_known_way_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tokens|layout"):
        ModelPlan.model_validate({"id": "a/b", **keys})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('tokens = ["a"]', r"models.0.tokens = \['a'\]: give a list as \[1e9, 1e10\], or \{ from = 0, to = 1e11"),
        ("tokens = { from = 0, to = 1e12 }", r"models.0.tokens: give a list"),
        (
            "tokens = { from = 0, to = 1e12, every = 1 }",
            r"means 1,000,000,000,001 numbers of tokens; give a larger `ev",
        ),
        ("tokens = [1e9]\nsteps = [1]", r"has both steps and tokens; give one of them"),
        ("steps = { from = 1 }", r"models.0.steps = \{'from': 1\}: give 'all' or another named grid"),
        ("steps = { from = 100, to = 0, every = 10 }", r"from 100 to 0 there is nothing; give the lower number first"),
        ("tokens = { from = 3e9, to = 1e9, every = 1e9 }", r"from 3,000,000,000 to 1,000,000,000 there is nothing"),
    ],
)
def test_what_a_plan_may_ask_is_said(tmp_path: Path, keys: str, said: str) -> None:
    (tmp_path / "plan.toml").write_text(f'name = "x"\n[[models]]\nid = "a/b"\n{keys}\n[[tasks]]\nname = "sst2"\n')
    with pytest.raises(PlanError, match=said):
        read_plan(tmp_path / "plan.toml")


def test_named_grids_of_any_suite_are_among_its_steps() -> None:
    available = [1000 * n for n in range(1, 739)]
    log = named_grid("log", "allenai/OLMo-1B-hf", available)
    assert log == [1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 131_000, 262_000, 524_000, 738_000]
    paper = named_grid("paper", "allenai/OLMo-1B-hf", available)
    assert (paper[0], paper[-1], len(paper)) == (1000, 738_000, 31)  # 0, 16 and 512 of 143,000: the first, the third
    assert paper[2] == round(5000 / 143_000 * 738) * 1000
    assert set(named_grid("dense", "allenai/OLMo-1B-hf", available)) > set(paper) - {3000}
    assert named_grid("log", "EleutherAI/pythia-70m", [0, 1, 2, 4, 512, 1000, 143_000]) == [
        0, 1, 2, 4, 512, 1000, 143_000
    ]  # fmt: skip
    later = [1_413_814 + 1000 * n for n in range(1, 49)]
    assert len(named_grid("paper", "allenai/Olmo-3-1025-7B", later)) == 3
    in_stage = named_grid("paper", "allenai/Olmo-3-1025-7B", later, later[0])
    assert in_stage == [later[0] + s for s in named_grid("paper", "allenai/OLMo-1B-hf", [s - later[0] for s in later])]
    assert len(in_stage) > 20
    assert named_grid("log", "allenai/Olmo-3-1025-7B", later, later[0]) == [
        later[0] + 1000 * n for n in (0, 1, 2, 4, 8, 16, 33, 47)
    ]
    with pytest.raises(PlanError, match="has no grid 'sparse'; give all, dense, log, paper, a list"):
        named_grid("sparse", "allenai/OLMo-1B-hf", available)
    with pytest.raises(PlanError, match="has no grid 'paper'; give all, log, a list"):
        named_grid("paper", "a/b", available)


def test_of_two_patterns_of_a_stage_the_first_ones_name_counts() -> None:
    suite = suite_of(OLMO2)
    assert suite is not None
    both = ["step1000-tokens5B", "stage1-step1000-tokens5B"]
    assert steps_by_name(OLMO2, both, suite.stages_of(OLMO2)[0])[1000].name == "stage1-step1000-tokens5B"


FOLDERS = {f"runs/step{step}/{name}": content for step in (1, 2) for name, content in models.sharded(step).items()}


def test_steps_in_folders_of_one_revision_are_found_fetched_and_evicted(hub: FakeHub) -> None:
    hub.add("a/b", "main", {**FOLDERS, "config.json": b"{}", "other/step3/readme": b""})
    first, second = find_checkpoints("a/b", layout="folders", pattern="runs/step{step}", tokens_per_step=10)
    assert [(c.step, c.revision, c.tokens_seen) for c in (first, second)] == [
        (1, "runs/step1", 10),
        (2, "runs/step2", 20),
    ]
    assert first.remote is not None
    assert second.remote is not None
    hub.add("a/c", "step1", models.sharded(1))
    (same,) = find_checkpoints("a/c")
    assert (first.content_hash, first.setup_hash) == (same.content_hash, same.setup_hash)  # as in a branch of its own
    expected = models.sharded(1)
    with disk.using(first.remote, run="x", budget=None, keep=False) as folder:
        assert folder.name == "step1"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
        assert len(load_file(folder / "model-00001-of-00002.safetensors")) > 0
        with disk.using(second.remote, run="x", budget=None, keep=False) as other:
            assert {path.name for path in other.parent.iterdir()} == {"step1", "step2"}
        assert not other.exists()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    assert not folder.parent.exists()
    with pytest.raises(
        CheckpointError, match=r"a/b@main has no folder that fits the pattern 'step\{step\}'; it has other"
    ):
        find_checkpoints("a/b", layout="folders")


def test_steps_in_repositories_of_their_own_are_one_run(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (10, 20):
        hub.add(f"a/run-{step}", "main", models.single(step))
    options: dict[str, Any] = {"layout": "repositories", "pattern": "a/run-{step}", "tokens_per_step": 3}
    found = find_checkpoints("a/run", [10, 20], **options)
    assert [(c.model, c.step, c.revision, c.tokens_seen) for c in found] == [
        ("a/run", 10, "a/run-10", 30),
        ("a/run", 20, "a/run-20", 60),
    ]
    assert [c.remote.repo for c in found if c.remote] == ["a/run-10", "a/run-20"]
    with pytest.raises(PlanError, match=r"no revision for 1 of the requested steps: 30 \(nearest: 10\)"):
        find_checkpoints("a/run", [10, 30], **options)
    assert [c.step for c in find_checkpoints("a/run", [10, 30], missing="skip", **options)] == [10]
    with pytest.raises(PlanError, match="its repositories cannot be listed, so give `steps` as a list or a range"):
        find_checkpoints("a/run", **options)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    n_requests = sum(hub.requests.values())
    assert [c.step for c in find_checkpoints("a/run", [10, 30], missing="skip", **options)] == [10]
    with pytest.raises(CheckpointError, match="a/run-40 was never listed here"):
        find_checkpoints("a/run", [10, 40], missing="skip", **options)
    assert sum(hub.requests.values()) == n_requests


def row_of(run: Run, suite: Suite) -> str:
    """A run's row in docs/suites.md."""
    stages = suite.stages_of(run.ids[0])
    count = "" if run.checkpoints is None else f"{run.checkpoints:,}"
    size = f"{run.parameters / 1e6:,.0f} M"
    gigabytes = (
        f"{run.parameters * run.bytes_per_parameter / 1e9:.2g}"
        if run.parameters < 5e10
        else f"{run.parameters * run.bytes_per_parameter / 1e9:.0f}"
    )
    tokens = {None: "names" if "{n}" in stages[0].patterns[0] else "unknown"}.get(
        stages[0].tokens_per_step, f"{stages[0].tokens_per_step or 0:,}"
    )
    known = f"{stages[0].naming}, {stages[0].tokens}" if tokens != "unknown" else stages[0].naming
    return f"| {size} | {count} | {gigabytes} | {tokens} | {known} |"


@pytest.mark.parametrize("suite", suites(), ids=lambda suite: suite.name)
def test_the_page_lists_every_model_with_its_numbers(suite: Suite) -> None:
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text()
    section = page.split(f"### {suite.title}\n")[1].split("\n##")[0]
    assert suite.good_for in " ".join(section.split())
    assert f"`{suite.model_type}`, {suite.licence}" in section
    assert all(source in " ".join(section.split()) for source in suite.sources)
    assert suite.refused is None or suite.refused in " ".join(section.split())
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(suite.runs)
    for run, row in zip(suite.runs, rows, strict=True):
        assert row.endswith(row_of(run, suite)), row_of(run, suite)
        assert all(model.rpartition("/")[2] in row or len(run.ids) > 3 for model in run.ids)


def test_a_suite_is_a_file_of_few_lines(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "suites.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    assert len(example.strip().splitlines()) <= 20
    (tmp_path / "mine.toml").write_text(example)
    mine = read_suite(tmp_path / "mine.toml")
    monkeypatch.setattr("dynamics.suites.suites", lambda: (*suites(), mine))
    (model, *_) = mine.runs[0].ids
    hub.add(model, "base-step2000-tokens9B", models.single(1))
    (found,) = find_checkpoints(model)
    assert (found.step, found.tokens_seen) == (2000, 9 * B)
