"""The shipped plan of each suite, dry-run on a local Hub whose revisions are named as that suite names them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamics.suites import suite_of, suites
from jobs.plan import app
from jobs.suite_lines import suite_lines
from jobs.sweep_plan import read_plan
from tests import hub_models as models
from tests.hub_server import FakeHub

Names = tuple[Iterable[int], Callable[[int], str]]
KSTEPS = range(1000, 120_001, 1000)
OLMO2 = "allenai/OLMo-2-1124-7B"
GPT2 = range(100, 4001, 100)
# repository -> steps, and the name of each, written here once more
REVISIONS: dict[str, list[Names]] = {
    "allenai/OLMo-1B-hf": [(KSTEPS, lambda n: f"step{n}-tokens{n * 4194 // 10**6}B")],
    "allenai/OLMo-1B-0724-hf": [(range(1000, 150_000, 1000), lambda n: f"step{n}-tokens{n * 2097 // 10**6}B")],
    "allenai/OLMo-2-0425-1B": [(range(1000, 150_000, 1000), lambda n: f"stage1-step{n}-tokens{n * 2097 // 10**6}B")],
    OLMO2: [
        (KSTEPS, lambda n: f"stage1-step{n}-tokens{n * 4194 // 10**6}B"),
        ((1000, 11_931), lambda n: f"stage2-ingredient1-step{n}-tokens{n * 4194 // 10**6}B"),
    ],
    "allenai/Olmo-3-1025-7B": [(KSTEPS, lambda n: f"stage1-step{n}")],
    "HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints": [(range(125_000, 5_125_001, 125_000), "step-{}".format)],
    "HuggingFaceTB/SmolLM3-3B-checkpoints": [
        (range(40_000, 3_440_001, 40_000), "stage1-step-{}".format),
        (range(4_240_000, 4_720_001, 40_000), "stage3-step-{}".format),
    ],
    "LLM360/Amber": [(range(359), "ckpt_{:03d}".format), ((0,), lambda _: "main")],
    "LLM360/K2": [(range(1, 361), "ckpt_{:03d}".format)],
    **{
        f"stanford-crfm/{name}": [((*GPT2, 8000, 16_000, 64_000, 400_000), "checkpoint-{}".format)]
        for name in (
            "alias-gpt2-small-x21",
            "battlestar-gpt2-small-x49",
            "caprica-gpt2-small-x81",
            "darkmatter-gpt2-small-x343",
            "expanse-gpt2-small-x777",
        )
    },
    "TinyLlama/tinyLlama-intermediate-checkpoints": [
        (range(50, 721, 10), lambda n: f"step-{n}k-token-{n * 2097152 // 10**6}B")
    ],
    "swiss-ai/Apertus-8B-2509": [
        (range(50_000, 2_600_000, 50_000), lambda n: f"step{n}-tokens{n * 4194 // 10**6}B"),
        ((2_627_139,), lambda n: f"step{n}-tokens15T"),
    ],
    "EleutherAI/pythia-1b": [((0, *(2**k for k in range(10)), *range(1000, 143_001, 1000)), "step{}".format)],
}  # fmt: skip
PLANS = {
    "olmo-1b": (8, 8),
    "olmo2-7b": (20, 40),
    "olmo3-7b": (20, 40),
    "smollm2-1.7b": (41, 41),
    "smollm3-3b": (15, 30),
    "amber-7b": (9, 11),
    "k2-65b": (9, 11),
    "mistral-gpt2": (60, 60),
    "tinyllama-1.1b": (68, 68),
    "apertus-8b": (52, 52),
    "tokens-across-suites": (21, 21),
}
"""The least and the largest number of checkpoints."""
FEW = ["--set", "tasks.0.name=sentiment", "--set", 'tasks.0.templates=["plain"]', "--set", "tasks.0.n_test=8"]


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_of_a_suite_can_run(hub: FakeHub, name: str) -> None:
    plan = read_plan(Path(name))
    content = [models.single(i) for i in range(3)]
    for repo in {model.id for model in plan.models}:
        names = [revision(step) for steps, revision in REVISIONS[repo] for step in steps]
        for i, name_of_revision in enumerate(names):
            # Each has a content of its own, so that none is a duplicate of another.
            files = {**content[i % 3], "model.safetensors": content[i % 3]["model.safetensors"] + bytes(i)}
            hub.add(repo, name_of_revision, files)
    shown = CliRunner().invoke(app, [name, *FEW, "--set", "tasks.0.demo_seeds=1", "--json"])
    assert shown.exit_code == 0, shown.output
    report = json.loads(shown.output)
    fewest, most = PLANS[name]
    assert fewest <= len(report["checkpoints"]) <= most
    assert [checkpoint for checkpoint in report["checkpoints"] if checkpoint["flags"]] == []


def test_every_suite_that_can_be_run_has_a_plan() -> None:
    planned = {suite.name for name in PLANS for model in read_plan(Path(name)).models if (suite := suite_of(model.id))}
    assert planned | {"polypythias"} == {suite.name for suite in suites() if suite.refused is None}


def test_suites_are_listed_without_a_plan() -> None:
    shown = CliRunner().invoke(app, ["--suites"])
    assert (shown.exit_code, shown.output.splitlines()) == (0, list(suite_lines()))
    for text in (
        "OLMo 2 (olmo2, Apache-2.0)",
        "cannot be run: its code",
        "refused without unverified = true: its tokens",
    ):
        assert text in shown.output
