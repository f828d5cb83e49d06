"""The price list: its operations are those that torch counts, its gigabytes those of the published sizes."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from dynamics.suites import suite_of
from jobs import measured_rate, price_list
from jobs.plan import app
from jobs.price_list import DEVICES, N_STEPS, SHAPES, Device, gigabytes, hours, operations, per_token, price_lines
from tests.benchmarks.workloads import model_of, neox_config


def test_the_operations_of_a_token_are_those_that_torch_counts() -> None:
    n_blocks, width, n_tokens = 3, 64, 50
    body = model_of(neox_config(n_blocks, 4, width, vocab_size=100)).base_model
    body.set_attn_implementation("eager")  # whose products are counted on a CPU too
    with FlopCounterMode(display=False) as counted:
        body(input_ids=torch.zeros(1, n_tokens, dtype=torch.long))
    # torch counts every token as looking back on all of them
    assert counted.get_total_flops() == n_tokens * per_token(n_blocks, width, n_tokens)


@pytest.mark.parametrize("size", SHAPES)
def test_the_gigabytes_are_those_of_the_published_parameters(size: str) -> None:
    suite = suite_of(f"EleutherAI/pythia-{size}")
    assert suite is not None
    parameters = suite.run(f"EleutherAI/pythia-{size}").parameters
    assert gigabytes(size) == pytest.approx(N_STEPS * 2 * parameters / 1e9, rel=0.01)


def test_the_command_says_the_list_and_that_gpus_are_extrapolated() -> None:
    shown = CliRunner().invoke(app, ["--prices"])
    assert (shown.exit_code, shown.output.splitlines()) == (0, list(price_lines()))
    assert "extrapolated, since no GPU was at hand" in shown.output
    assert operations("12b") / operations("6.9b") == pytest.approx(36 * 5120**2 / 32 / 4096**2, rel=0.02)


def test_hours_are_operations_over_the_rate_of_the_size_or_of_the_largest_that_was_measured() -> None:
    here = Device("here", "measured", {"70m": 1e12, "160m": 2e12})
    expected = {"70m": 1e12, "160m": 2e12, "12b": 2e12}
    for size, rate in expected.items():
        assert hours(size, here) == (pytest.approx(N_STEPS * operations(size) / rate / 3600),)
    fastest, slowest = hours("70m", Device("card", "data sheet", peak=1e12))
    assert slowest == pytest.approx(4 * fastest)


def test_the_rate_of_this_machine_is_measured_at_sizes_that_take_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"70m": (1, 64), "160m": (2, 64), "12b": (10_000, 64)}
    monkeypatch.setattr(measured_rate, "SHAPES", shapes)
    monkeypatch.setattr(measured_rate, "VOCABULARY", 500)
    monkeypatch.setattr("jobs.price_list.SHAPES", shapes)
    shown = CliRunner().invoke(app, ["--calibrate"])
    assert shown.exit_code == 0, shown.output
    assert "measured here at 70m, 160m; larger sizes at the rate of the largest of these" in shown.output
    assert shown.output.count("to download") == 3


def test_prompts_of_the_measurement_look_back_on_as_many_tokens_as_those_of_the_tasks() -> None:
    prompts = measured_rate._drawn_prompts(4)
    n_shared, n_own = len(prompts.shared_ids), len(prompts.own_ids[0])
    assert n_shared + n_own / 2 == pytest.approx(measured_rate.CONTEXT, abs=1)


@pytest.mark.parametrize("size", SHAPES)
def test_the_table_in_the_documentation_is_the_list(size: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    prices = [price_list._range(hours(size, device)) for device in DEVICES]
    computed = [size, f"{operations(size) / 1e15:.2f}", f"{gigabytes(size):,.0f}", *prices]
    assert f"| {' | '.join(computed)} |" in page
