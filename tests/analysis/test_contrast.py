"""The components chosen under one template, scored under another, against a loop; Full beside them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2


def test_a_change_of_wording_that_upsets_the_model_and_not_its_best_component(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for seed in range(2):
        for template, right in (("paper", 0.8), ("contrast", 0.55), ("sentiment", 0.6)):
            answers = answering([0.9, 0.5, 0.6, 0.7, 0.8, 0.4, 0.3, 0.2, 0.1, 0.0], GOLD, seed)
            if template == "contrast":
                answers[:, 1:] = 1  # only the best component keeps its accuracy
            full = answering([right], GOLD, seed)[:, 0]
            partner = "paper" if template == "contrast" else None
            keys = {"template": template, "demo_seed": seed, "contrasts_with": partner}
            add_unit(store, answers, GOLD, full=full, **keys)
    table = analysis.run("contrast", store.root)
    pair = table.filter(template="paper", partner="contrast")
    curves = {r["curve"]: (r["accuracy"], r["partner_accuracy"], r["gap"], r["contrastive"]) for r in pair.to_dicts()}
    assert curves["Full"] == pytest.approx((0.8, 0.55, 0.25, True))
    assert curves["T1"] == pytest.approx((0.9, 0.9, 0.0, True))
    assert curves["top-5"] == pytest.approx((0.7, (0.9 + 4 * 0.5) / 5, 0.12, True))
    others = table.filter(~pl.col("contrastive")).select("template", "partner").unique().rows()
    assert len(others) == 4
    assert table["n_seeds"].unique().to_list() == [2]


def test_numbers_follow_from_the_score_tables(results: Path) -> None:
    table = analysis.run("contrast", results)
    row = table.filter(task="sentiment", step=4, template="plain", partner="cue", curve="T1").row(0, named=True)
    scores = (
        analysis.load(results, "component_scores")
        .filter(pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"]))
        .filter(pl.col("task") == "sentiment", pl.col("step") == 4)
        .collect()
    )
    best = [scores.filter(template="plain", demo_seed=seed)["accuracy"].max() for seed in scores["demo_seed"].unique()]
    assert row["accuracy"] == pytest.approx(np.mean(best))
    full = analysis.load(results, "prompt_scores").filter(
        pl.col("task") == "sentiment", pl.col("step") == 4, pl.col("method") == "full", pl.col("template") == "cue"
    )
    expected = full.select(pl.col("accuracy").mean()).collect().item()
    full_curve = table.filter(task="sentiment", step=4, template="plain", partner="cue", curve="Full")
    assert full_curve["partner_accuracy"].item() == pytest.approx(expected)


def test_one_template_gives_an_empty_table(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD)
    assert analysis.run("contrast", store.root).is_empty()
