"""Onsets and leads by metrics: accuracy as in the other tables, a bias that only accuracy sees, nulls, coverage."""

from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.reading.answers import all_common_prompts
from analysis.reading.logits import has_contributions
from analysis.seed_onsets import leads_over_full
from dynamics.results.places import place
from figures import metric_onsets
from tests.learning import Design
from tests.metric_coverage import coverage
from tests.stores import COMPONENTS, add_unit, new_store

STEPS = (0, 1, 2, 4, 8, 16, 32, 64)
GOLD = np.arange(120) % 2
KEYS = ["task", "n_shots", "curve", "centred", "variant", "n_labelled"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Component 3 knows the labels from step 4 on, so does Full; up to step 16 another one hides it by a label bias.

    Components 8 and 9 give one answer each at all steps, and cancel in Full.
    """
    root = tmp_path_factory.mktemp("planted") / "out"
    store = new_store(root)
    for step in STEPS:
        for seed in range(4):
            logits = np.random.default_rng([step, seed]).normal(scale=0.2, size=(len(GOLD), len(COMPONENTS), 2))
            logits[np.arange(len(GOLD)), 3, GOLD] += 2.0 if step >= 4 else 0.0
            logits[:, 7, 0] += 6.0 if step < 32 else 0.0
            logits[:, 8, 0] += 9.0
            logits[:, 9, 1] += 9.0
            add_unit(store, GOLD, GOLD, logits=logits, step=step, demo_seed=seed)
    return root


def row(table: pl.DataFrame, curve: str, metric: str, *, centred: bool = False) -> dict[str, object]:
    return table.filter(curve=curve, metric=metric, centred=centred).row(0, named=True)


def test_a_label_bias_delays_accuracy_and_neither_area_nor_margin(planted: Path) -> None:
    """Of two labels with equally many rows a bias adds to the margins of one what it takes from those of the other."""
    table = analysis.run("metric_onsets", planted)
    assert (row(table, "Full", "accuracy")["step_before"], row(table, "Full", "accuracy")["step_after"]) == (16, 32)
    for metric in ("auc", "margin"):
        full = row(table, "Full", metric)
        assert (full["step_before"], full["step_after"], full["t50_reason"]) == (2, 4, "")
        assert row(table, "Held-out T1", metric)["lead_area"] == pytest.approx(0, abs=0.3)
    assert row(table, "Held-out T1", "accuracy")["lead_area"] == pytest.approx(3, abs=0.3)
    assert row(table, "Held-out T1", "accuracy", centred=True)["lead_area"] == pytest.approx(0, abs=0.3)


def test_by_accuracy_the_numbers_are_those_of_the_other_tables(planted: Path) -> None:
    table = analysis.run("metric_onsets", planted).filter(~pl.col("is_component"), metric="accuracy")
    onsets = analysis.run("onsets", planted).filter(criterion="half")
    leads = leads_over_full(analysis.run("leads", planted)).filter(criterion="area")
    both = table.join(onsets.select(*KEYS, "t"), on=KEYS).join(leads.select(*KEYS, "lead"), on=KEYS, how="left")
    assert sorted(both["curve"].unique()) == ["Cross-seed T1", "Full", "Held-out T1"]
    for own, other in (("t50", "t"), ("lead_area", "lead")):
        assert both[own].is_null().to_list() == both[other].is_null().to_list()
        assert both[own].drop_nulls().to_list() == pytest.approx(both[other].drop_nulls().to_list(), rel=0.02, abs=1e-9)


def test_a_component_with_one_answer_has_no_onset_by_accuracy(planted: Path) -> None:
    """Its accuracy and its null are both .5, whatever their last digits."""
    table = analysis.run("metric_onsets", planted).filter("is_component")
    for component in COMPONENTS[8:10]:
        found = row(table, component.name, "accuracy")
        assert found["t50"] is found["lead_area"] is None
        assert found["t50_reason"] == "its plateau is not above the band of permuted labels"
    found = row(table, COMPONENTS[3].name, "accuracy")
    assert (found["step_before"], found["step_after"], found["interval_over"]) == (2, 4, None)


def test_intervals_hold_the_number_and_the_checkpoints_around(planted: Path) -> None:
    table = analysis.run("metric_onsets", planted).filter(~pl.col("is_component"), pl.col("t50").is_not_null())
    without = table.filter(curve="Cross-seed T1")
    assert not without.is_empty()
    assert without["t50_low"].is_null().all()
    assert without["t50_high"].is_null().all()
    of_t50 = table.filter(pl.col("curve") != "Cross-seed T1")
    assert (of_t50["t50_low"] <= of_t50["step_before"]).fill_null(value=False).all()
    assert (of_t50["t50_high"] >= of_t50["step_after"]).fill_null(value=False).all()
    leads = table.filter(pl.col("lead_area").is_not_null())
    assert ((leads["lead_area_low"] <= leads["lead_area"]) & (leads["lead_area"] <= leads["lead_area_high"])).all()


SMALL = Design(learns_at=(6.0, 6.3, np.inf, np.inf), n_templates=1, n_examples=80, bias=0.8)
ONE_SEED = replace(SMALL, n_seeds=1, of_seed=0, of_prompt=0, of_seed_bias=0)


@pytest.mark.parametrize(("design", "n_curves"), [(SMALL, 3), (ONE_SEED, 2)])
def test_intervals_contain_the_truth(design: Design, n_curves: int) -> None:
    """25 simulated sweeps; with 95 %, fewer than 19 contain it with probability .0002. One seed: rows alone differ."""
    n = 25
    assert sum(comb(n, k) * 0.95**k * 0.05 ** (n - k) for k in range(19)) < 0.001
    shares = coverage(design, n, 150)
    assert len(shares) == 2 * 3 * (3 * n_curves - 2)  # forms, metrics; t50 of all curves, two leads of all but Full
    assert shares["n"].min() == n
    assert shares.filter(pl.col("covered") < 19 / n).is_empty(), shares.filter(pl.col("covered") < 19 / n)
    assert not shares["covered"].eq(1).all()


def test_a_sweep_gives_the_values_that_are_stored(results: Path) -> None:
    """COMP RW's logits are made again from contributions and weights, so its accuracy and area must be the stored."""
    table = analysis.run("metric_onsets", results).filter(~pl.col("is_component"), centred=False)
    stored = analysis.load(results, "prompt_scores").filter(
        pl.col("split") == "test", pl.col("method").is_in(["full", "comp_rw"]), pl.col("step") == pl.col("step").min()
    )
    means = stored.group_by("task", "n_shots", "method", "variant", "n_labelled").agg(pl.col("accuracy", "auc").mean())
    names = pl.col("method").replace_strict({"full": "Full", "comp_rw": "COMP RW"}).alias("curve")
    for metric in ("accuracy", "auc"):
        keys = ["task", "n_shots", "curve", "variant", "n_labelled"]
        both = table.filter(metric=metric).join(means.with_columns(names).collect(), on=keys)
        assert {"Full", "COMP RW"} == set(both["curve"])
        assert both["first"].to_list() == pytest.approx(both[metric].to_list(), abs=1e-6)


def test_without_contributions_there_are_no_rows(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = place(str(planted))
    (common,) = all_common_prompts(results)
    lacking = replace(common, example_id=(*common.example_id, "99999"))
    assert has_contributions(results, common)
    assert not has_contributions(results, lacking)
    monkeypatch.setattr("analysis.metric_onsets.all_common_prompts", lambda _: iter([lacking]))
    assert analysis.metric_onsets.metric_onsets(
        results
    ).is_empty()  # not by `run`, which may have kept the table of all prompts


def test_the_figure_has_a_row_per_metric_and_the_full_model_as_a_line(planted: Path) -> None:
    table = analysis.run("metric_onsets", planted)
    pictures = metric_onsets.draw(table)
    assert list(pictures) == ["metric_onsets", "metric_onsets_centred"]
    axes = pictures["metric_onsets"].axes
    assert [a.get_ylabel().replace("\n", " ") for a in axes] == [
        "accuracy", "area under the ROC curve", "margin of the gold label",
    ]  # fmt: skip
    lines = [[float(np.asarray(line.get_xdata())[0]) for line in a.lines if line.get_label() == "full"] for a in axes]
    expected = [row(table, "Full", metric)["t50"] for metric in ("accuracy", "auc", "margin")]
    assert [2**x for (x,) in lines] == pytest.approx(expected)
    bars = [a for a in axes[0].lines if np.ptp(np.asarray(a.get_xdata())) > 0]
    drawn = table.filter(~pl.col("is_component"), centred=False, metric="accuracy")
    assert len(bars) == drawn["t50_low"].is_not_null().sum() == len(drawn) - 1  # Cross-seed T1 has a marker alone
    assert "accuracy" in metric_onsets.caption(table)
