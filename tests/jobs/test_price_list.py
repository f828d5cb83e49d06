"""The price list: its operations are those that torch counts, its gigabytes those of the published sizes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from dynamics.suites import suite_of
from jobs.plan import app
from jobs.price_list import N_STEPS, SHAPES, gigabytes, operations, per_token, price_lines
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
