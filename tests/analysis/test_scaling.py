"""Leads over size: joined with their onsets, in tokens, and nothing without a second size."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2


def test_every_curve_of_every_sized_model_has_its_tokens(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for model, late in (("pythia-70m", 3), ("pythia-1b", 2), ("unsized", 2)):
        for i, step in enumerate((1, 2, 4, 8, 16, 32)):
            for seed in (0, 1):
                best, full = (0.9 if i >= late - 1 else 0.5), (0.9 if i >= late else 0.5)
                keys = {"model": model, "step": step, "tokens_seen": 1000 * step, "demo_seed": seed}
                add_unit(store, answering([best] * 10, GOLD, seed), GOLD, full=answering([full], GOLD)[:, 0], **keys)
    table = analysis.run("scaling", store.root)
    assert table["model"].unique(maintain_order=True).to_list() == ["pythia-70m", "pythia-1b"]
    assert table["tokens_per_step"].unique().to_list() == [1000]
    key = ["model", "task", "curve", "centred", "variant", "n_labelled", "criterion"]
    beside = table.join(analysis.run("onsets", store.root), on=key).drop_nulls("onset")
    assert beside["onset"].to_list() == beside["t"].to_list()
    assert beside["onset_tokens"].to_list() == pytest.approx((beside["t"] * 1000).to_list())
    own_full = (pl.col("over") == "Full") & (pl.col("over_centred") == pl.col("centred"))
    leads = analysis.run("leads", store.root).filter(own_full, template="")
    assert not table.select(key).is_duplicated().any()
    ahead = table.join(leads, on=key, suffix="_there").drop_nulls("lead")
    assert ahead["lead"].to_list() == ahead["lead_there"].to_list()
    assert ahead.select("lead_low", "lead_high").rows() == ahead.select("low", "high").rows()
    assert beside.select("onset_low", "onset_high").rows() == beside.select("low", "high").rows()
    assert ahead.filter(criterion="half", curve="T1", centred=False)["lead"].to_list() == pytest.approx([1, 1], abs=0.1)
    area = table.filter(criterion="area", centred=False)
    assert area.filter(curve="T1")["lead"].to_list() == pytest.approx([1, 1], abs=0.2)
    assert area["onset"].null_count() == len(area)
    assert area["last_step"].unique().to_list() == [32]
    assert table.filter(curve="Full")["lead"].null_count() == len(table.filter(curve="Full"))


def test_tokens_that_do_not_begin_at_0_are_counted_from_where_they_are(tmp_path: Path) -> None:
    """As in a suite whose first checkpoint is called 0 and has seen a part of the data."""
    store = new_store(tmp_path / "out")
    for model in ("a-70m", "a-1b"):
        for i, step in enumerate((0, 1, 2, 4, 8, 16)):
            answers = answering([0.9 if i >= 3 else 0.5] * 10, GOLD, i)
            add_unit(store, answers, GOLD, full=answers[:, 0], model=model, step=step, tokens_seen=1000 * (step + 1))
    table = analysis.run("scaling", store.root).drop_nulls("onset")
    assert len(table) > 0
    assert table["tokens_per_step"].unique().to_list() == [1000]
    assert table["onset_tokens"].to_list() == pytest.approx((1000 * (table["onset"] + 1)).to_list())


def test_one_size_is_no_axis(results: Path) -> None:
    assert analysis.run("scaling", results).is_empty()
