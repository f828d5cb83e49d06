"""The paper's curve beside a run: the right steps, the right differences, and the paper alone without a run."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.paper_dynamics import published
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(200) % 4


def test_a_run_is_compared_where_both_have_the_step(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step in (0, 512, 1000):
        for seed, full in ((0, 0.3), (1, 0.4)):
            answers = answering([0.5] + [0.25] * 9, GOLD, seed)
            keys = {"model": "EleutherAI/pythia-6.9b", "task": "agnews", "step": step, "demo_seed": seed}
            add_unit(store, answers, GOLD, full=answering([full], GOLD)[:, 0], **keys)
    table = analysis.run("paper_dynamics", store.root)
    by_curve = table.filter(step=512).rows_by_key("curve", named=True, unique=True)
    assert by_curve["Full"]["difference"] == pytest.approx(0.35 - 0.273)
    assert (by_curve["Full"]["in_sds"], by_curve["Full"]["sd_of"]) == (pytest.approx((0.35 - 0.273) / 0.016), "paper")
    assert by_curve["T1"]["mean"] == pytest.approx(0.5)
    assert by_curve["T1"]["sd_of"] is None
    zero = table.filter(step=0, curve="Full").row(0, named=True)
    assert (zero["published_sd"], zero["sd_of"]) == (0, "run")
    assert zero["in_sds"] == pytest.approx((0.35 - 0.25) / np.std([0.3, 0.4], ddof=1))
    assert table.filter(step=1000)["published"].null_count() == 4
    assert table.filter(step=5000)["mean"].null_count() == 4


def test_without_a_run_there_are_the_papers_rows_only(results: Path) -> None:
    table = analysis.run("paper_dynamics", results)
    assert len(table) == len(published()) == 28
    assert table["mean"].null_count() == table["in_sds"].null_count() == 28
    assert table["model"].unique().to_list() == ["EleutherAI/pythia-6.9b"]


def test_the_published_numbers_are_accuracies_in_the_papers_order() -> None:
    wide = published().pivot("curve", index="step", values="published").sort("step")
    assert wide["step"].to_list() == [0, 512, 5000, 20000, 50000, 100000, 143000]
    assert wide.select((pl.col("T1") >= pl.col("Last-T1")) & (pl.col("Full") > pl.col("B1"))).to_series().all()
    assert wide.row(-1, named=True) == {"step": 143000, "T1": 0.747, "Last-T1": 0.747, "Full": 0.687, "B1": 0.056}
