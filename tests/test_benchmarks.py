"""The benchmarks can be run and compare like with like; speed itself is measured by `make bench`, never here."""

from pkgutil import resolve_name

import pytest
from transformers import PreTrainedModel
from typer import Typer
from typer.testing import CliRunner

from dynamics.decomposition import decompose, relative_error
from tests.benchmarks import BENCHMARKS, ON_REQUEST, rates
from tests.benchmarks.__main__ import run
from tests.benchmarks.hooks import by_hooks
from tests.benchmarks.timing import Row, Times, in_turns
from tests.benchmarks.workloads import n_tokens, plain_pass, unshared
from tests.dynamics.test_decomposition import ragged_prompts
from tests.real_rows import needs_real_rows


@pytest.mark.parametrize("target", [*BENCHMARKS.values(), *ON_REQUEST.values()])
def test_every_name_leads_to_a_function(target: str) -> None:
    assert callable(resolve_name(target))


def test_a_mistyped_name_is_refused_with_the_nearest() -> None:
    app = Typer()
    app.command()(run)
    ended = CliRunner().invoke(app, ["shard"])
    assert ended.exit_code == 2
    assert "did you mean 'shared'" in ended.output


def test_all_ways_give_the_same_logits(neox: PreTrainedModel) -> None:
    prompts = ragged_prompts()
    ours = decompose(neox, prompts)
    assert relative_error(plain_pass(neox, prompts).numpy(), ours.full) < 1e-5
    assert relative_error(decompose(neox, unshared(prompts)).full, ours.full) < 1e-5
    heads = [i for i, component in enumerate(ours.components) if component.kind == "head"]
    assert relative_error(by_hooks(neox, prompts), ours.contributions[:, heads]) < 1e-5


def test_new_tokens_count_the_shared_ones_once() -> None:
    prompts = ragged_prompts(n_examples=9, shared=7)
    own = sum(map(len, prompts.own_ids))
    assert n_tokens(prompts) == (own + 9 * 7, own + 7)


def test_ways_run_in_turns_after_a_round_that_does_not_count() -> None:
    seen: list[str] = []
    times = in_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, runs=2)
    assert seen == ["a", "b"] * 3
    assert [len(runs) for runs in times.wall.values()] == [2, 2]


def test_ratios_are_of_medians() -> None:
    times = Times({"a": [9, 1, 2], "b": [4, 4, 100]}, {"a": [1, 1, 1], "b": [2, 2, 2]})
    assert times.ratio("a", "b") == 0.5
    assert times.note("a", "b") == "cpu time 0.500; runs 0.020 to 2.250"


def test_a_target_is_met_or_missed_or_none() -> None:
    assert Row("a", "", 1.0, 1.0).met is True
    assert Row("a", "", 1.1, 1.0).met is False
    assert Row("a", "", 1.1, 1.0, at_least=True).met is True
    assert Row("a", "", 1.1).met is None


@needs_real_rows
def test_rates_of_a_device_are_measured_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SHAPES": {"small": (2, 32)}, "HEADS": {"small": 4}, "ON_CPU": ("small",), "PROMPTS_ON_CPU": 4, "RUNS": 1}
    for name, value in {**small, "TASKS": {"sst2": 1}, "PROMPTS_ON_GPU": 4}.items():
        monkeypatch.setattr(rates, name, value)
    rows = list(rates.rates())
    assert all(row.value > 0 for row in rows)
    assert [row.name for row in rows[:5]] == [
        "matrix product, 10^12 operations/s",
        "utilisation, decomposition",
        "decomposition / plain",
        "automatic batch / best of others",
        "launches in a batch",
    ]
