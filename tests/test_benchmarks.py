"""The benchmarks can be run and compare like with like; speed itself is measured by `make bench`, never here."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
import torch
from transformers import PreTrainedModel
from typer import Typer
from typer.testing import CliRunner

from dynamics.decomposition import decompose, relative_error
from tests.benchmarks import BENCHMARKS, ON_REQUEST, __main__, rates, timing, workloads
from tests.benchmarks.__main__ import run
from tests.benchmarks.hooks import by_hooks
from tests.benchmarks.timing import Part, Row, Times, in_turns
from tests.benchmarks.workloads import n_padded, n_tokens, plain_batches, plain_pass, unshared
from tests.dynamics.test_decomposition import ragged_prompts
from tests.real_rows import needs_real_rows


@pytest.mark.parametrize("target", [*BENCHMARKS.values(), *ON_REQUEST.values()])
def test_every_name_leads_to_a_function(target: str) -> None:
    assert callable(resolve_name(target))


def test_a_mistyped_name_is_refused_with_the_nearest() -> None:
    app = Typer()
    app.command()(run)
    ended = CliRunner().invoke(app, ["growht"])
    assert ended.exit_code == 2
    assert "did you mean 'growth'" in ended.output


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


Takes = Callable[..., Callable[[], None]]


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Takes:
    """Methods that take so many seconds of a clock that nothing else moves."""
    now = [0.0]

    def method(*seconds: float) -> Callable[[], None]:
        rest = list(seconds)

        def run() -> None:
            now[0] += rest.pop(0) if len(rest) > 1 else rest[0]

        return run

    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0])
    monkeypatch.setattr(timing, "time", clock)
    return method


def test_rounds_end_when_the_ratio_is_precise(takes: Takes) -> None:
    def n_runs(b: Callable[[], None], **limits: int) -> int:
        return in_turns({"a": takes(1.0), "b": b}, warm_up=takes(1.0), **limits).n_runs

    assert n_runs(takes(2.0, 2.02, 2.0), runs=7) == 3
    assert n_runs(takes(2.0), runs=7, least=2) == 2
    assert n_runs(takes(2.0), runs=7, least=5) == 5
    assert n_runs(takes(2.0, 2.2, 2.0, 2.2, 2.0, 2.2, 2.0), runs=7) == 7
    assert n_runs(takes(1.0, 2.0, 2.0), runs=1) == 1
    assert n_runs(takes(20.0, 40.0, 20.0, 40.0, 20.0), runs=5, least=2) == 2  # after 45 seconds


def test_the_standard_error_is_that_of_the_mean_ratio() -> None:
    times = Times({"a": [1, 1, 1, 1], "b": [2, 4, 2, 4]}, {})
    assert times.standard_error("b", "a") == pytest.approx((4 / 3) ** 0.5 / 2 / 3)


def test_parts_run_in_turn_and_count_by_their_share(takes: Takes) -> None:
    parts = [Part(takes(2.0), 0.25), Part(takes(9.0), 0.75)]
    times = in_turns({"a": takes(4.0), "b": parts}, runs=3, warm_up=takes(1.0))
    assert times.wall == times.cpu == {"a": [4.0] * 3, "b": [8.0, 12.0, 8.0]}
    assert times.ratio("b", "a") == 2.0


def test_the_batches_of_the_plain_pass_are_all_of_it(neox: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "TOKENS", 40)
    prompts = ragged_prompts()
    parts = plain_batches(prompts)
    assert len(parts) > 2
    assert sorted(e for part in parts for e in part.example_id) == sorted(prompts.example_id)
    assert sum(map(n_padded, parts)) == n_padded(prompts) > n_tokens(prompts)[0]
    apart = torch.cat([plain_pass(neox, part) for part in parts])
    order = [int(e) for part in parts for e in part.example_id]
    torch.testing.assert_close(apart[torch.tensor(order).argsort()], plain_pass(neox, prompts))


def drawn_rows() -> Iterator[Row]:
    yield Row("drawn", "nothing", 1.0)


def test_seconds_are_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__main__.TASKS, "drawn", "tests.test_benchmarks:drawn_rows")
    app = Typer()
    app.command()(run)
    ended = CliRunner().invoke(app, ["drawn", "--json", str(tmp_path / "bench.json")])
    assert ended.exit_code == 0, ended.output
    assert "seconds: drawn 0; all 0" in ended.output
    assert json.loads((tmp_path / "bench.json").read_text())["seconds"].keys() == {"drawn"}


def test_ratios_are_of_medians() -> None:
    times = Times({"a": [9, 1, 2], "b": [4, 4, 100]}, {"a": [1, 1, 1], "b": [2, 2, 2]})
    assert times.ratio("a", "b") == 0.5
    assert times.note("a", "b") == "cpu time 0.500; 3 runs, 0.020 to 2.250"


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
