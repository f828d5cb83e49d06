"""Scores, onsets and effects of heads on results whose numbers are known by hand, and their figures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import analysis
from dynamics.results.file_names import Part, part_id
from dynamics.results.places import Place
from dynamics.results.schema import KEYS
from dynamics.results.store import ResultStore, read_units, write_fits
from dynamics.results.tables import table
from figures import ablations, direct_total, mechanisms
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(40) % 2
STEPS, SEEDS = (0, 1, 2, 4, 8, 16), (0, 1, 2)
HEADS = ("L0H0", "L1H1")
LABELS = {0: 0.1, 1: 0.1, 2: 0.1, 4: 0.9, 8: 0.9, 16: 0.9}
"""Attention of L1H1 to label words by step; L0H0's is .1 throughout."""
LOST = {"top": 0.3, "bottom": -0.1, "random-0": 0.0, "random-1": 0.1}
SINGLE = {"L0H0": (1.0, 0.6), "L1H1": (0.2, 0.5)}
"""Component -> direct and total effect."""


def scores(step: int, seed: int) -> Iterator[dict[str, object]]:
    for head in HEADS:
        label = LABELS[step] + 0.01 * seed if head == "L1H1" else 0.1
        prefix = 0.6 if head == "L1H1" and step >= 8 else 0.01
        for measure, value, chance in (
            ("label_attention", label, None),
            ("label_copying", 0.01 if head == "L1H1" else 0.0, None),
            ("prefix_matching", prefix, 0.01),
        ):
            where = {"component": head, "layer": int(head[1]), "head": int(head[3])}
            if measure != "prefix_matching" or seed == 0:
                yield {"measure": measure, **where, "value": value, "n": 40, "chance": chance, "fit_id": measure}


def effects(seed: int) -> Iterator[dict[str, object]]:
    shared = {"replacement": "mean", "k": 2, "fit_id": "a", "n_examples": 40, "mean_margin": 0.0}
    full = 0.8 + 0.05 * seed
    yield {
        **shared,
        "selection": "none",
        "components": "",
        "n_components": 0,
        "accuracy": full,
        "centred_accuracy": 0.9,
    }
    for selection, lost in LOST.items():
        own = {"selection": selection, "components": "L0H0 L1H1", "n_components": 2, "accuracy": full - lost}
        yield {**shared, **own, "centred_accuracy": 0.9, "direct_effect": 0.0, "total_effect": 0.0}
    for component, (direct, total) in SINGLE.items():
        own = {"selection": "single", "components": component, "n_components": 1, "accuracy": full}
        yield {**shared, **own, "centred_accuracy": 0.9, "direct_effect": direct, "total_effect": total + 0.1 * seed}


def add_rows(store: ResultStore, name: str, unit: dict[str, object], rows: list[dict[str, object]]) -> None:
    names = dict.fromkeys(key for row in rows for key in row)
    keys = {key: unit[key] for key in KEYS}
    part = Part(str(unit["model"]), int(str(unit["step"])), str(unit["task"]), part_id([str(unit["unit_id"])]))
    made: pa.Table = table(name, keys, {key: [row.get(key) for row in rows] for key in names})
    write_fits(store, part, "0123abcd", {name: made})


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Six steps, three demonstration seeds; prefix matching is stored with one unit of each checkpoint."""
    store = new_store(tmp_path_factory.mktemp("planted") / "out")
    for step in STEPS:
        for seed in SEEDS:
            add_unit(store, answering([0.5] * 10, GOLD, seed), GOLD, step=step, demo_seed=seed)
    for unit in read_units(store).iter_rows(named=True):
        add_rows(store, "mechanisms", unit, list(scores(unit["step"], unit["demo_seed"])))
        add_rows(store, "ablations", unit, list(effects(unit["demo_seed"])))
    return store.root


def test_scores_are_means_over_prompts_and_those_of_checkpoints_have_no_task(planted: Place) -> None:
    scored = analysis.run("mechanisms", planted)
    label = scored.filter(measure="label_attention", component="L1H1", step=4).row(0, named=True)
    assert (label["task"], label["n_prompts"], label["value"]) == ("sst2", 3, pytest.approx(0.91))
    prefix = scored.filter(measure="prefix_matching", component="L1H1").sort("step")
    assert prefix["task"].to_list() == [""] * len(STEPS)
    assert prefix["n_shots"].null_count() == len(STEPS)
    assert prefix["value"].to_list() == [0.01, 0.01, 0.01, 0.01, 0.6, 0.6]
    assert set(prefix["threshold"]) == {0.3}


def test_onsets_lie_between_the_checkpoints_around_them_and_what_does_not_change_has_none(planted: Place) -> None:
    onsets = analysis.run("mechanism_onsets", planted)
    label = onsets.filter(measure="label_attention", component="L1H1").row(0, named=True)
    assert (label["step_before"], label["step_after"], label["n_seeds"]) == (2, 4, 3)
    assert 2 < label["t"] < 4
    assert label["low"] <= 2
    assert label["high"] >= 4
    prefix = onsets.filter(measure="prefix_matching", component="L1H1").row(0, named=True)
    assert (prefix["step_before"], prefix["step_after"], prefix["passes"]) == (4, 8, True)
    assert prefix["low"] is None, "one value a checkpoint has no interval"
    flat = onsets.filter(component="L0H0")
    assert flat["t"].null_count() == len(flat)
    assert flat["reason"].str.contains("less than 0.05").all()
    assert onsets.filter(component="L0H0", measure="prefix_matching")["passes"].to_list() == [False]


def test_a_prompt_that_some_step_lacks_is_in_no_mean(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, seeds in ((1, (0, 1)), (2, (0,))):
        for seed in seeds:
            add_unit(store, answering([0.5] * 10, GOLD, seed), GOLD, step=step, demo_seed=seed)
    for unit in read_units(store).iter_rows(named=True):
        add_rows(store, "mechanisms", unit, list(scores(unit["step"], unit["demo_seed"])))
    scored = analysis.run("mechanisms", store.root).filter(measure="label_attention", component="L1H1")
    assert scored.select("n_prompts", "value").rows() == [(1, 0.1), (1, 0.1)]


def test_ablated_sets_are_compared_with_the_whole_model_on_the_same_prompts(planted: Place) -> None:
    lost = analysis.run("ablations", planted).filter(step=16)
    assert dict(lost.select("selection", pl.col("lost").round(6)).iter_rows()) == {
        "bottom": -0.1,
        "none": 0.0,
        "random": 0.05,
        "top": 0.3,
    }
    top = lost.filter(selection="top").row(0, named=True)
    assert (top["k"], top["n_prompts"], top["n_seeds"]) == (2, 3, 3)
    assert (top["lost_low"], top["lost_high"]) == (pytest.approx(0.3), pytest.approx(0.3))
    assert top["centred_lost"] == pytest.approx(0)
    assert top["accuracy"] == pytest.approx(0.85 - 0.3)


def test_self_repair_is_direct_less_total_with_an_interval_over_seeds(planted: Place) -> None:
    effect = analysis.run("direct_total", planted).filter(step=16)
    rows = {row["component"]: row for row in effect.iter_rows(named=True)}
    assert rows["L0H0"]["self_repair"] == pytest.approx(1.0 - 0.7)
    assert rows["L1H1"]["self_repair"] == pytest.approx(0.2 - 0.6)
    half_width = 4.302653 * 0.1 / np.sqrt(3)  # t(.975, 2), SD over seeds .1
    assert rows["L0H0"]["total_effect_high"] - rows["L0H0"]["total_effect"] == pytest.approx(half_width, rel=1e-6)
    assert rows["L0H0"]["direct_effect_high"] == pytest.approx(1.0)
    assert rows["L0H0"]["self_repair_share"] == pytest.approx(0.3)


def test_published_scores_stand_beside_those_of_the_same_model_and_step(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, model="me/pythia-70m-deduped", step=1000)
    for unit in read_units(store).iter_rows(named=True):
        add_rows(store, "mechanisms", unit, [{**row, "value": 0.9} for row in scores(8, 0)])
    table = analysis.run("anchors", store.root)
    found = table.filter(pl.col("found").is_not_null())
    assert found.select("model", "step", "statistic", "published", "found").rows() == [
        ("pythia-70m-deduped", 1000, "heads above .3", 6.0, 2.0),
        ("pythia-70m-deduped", 1000, "largest", 0.953, 0.9),
    ]
    assert found["difference"].to_list() == pytest.approx([-4.0, -0.053])
    assert len(table) == 32


def test_figures_draw_what_the_tables_hold(planted: Place) -> None:
    for spec, name in ((mechanisms, "mechanisms"), (ablations, "ablations"), (direct_total, "direct_total")):
        drawn = analysis.run(name, planted)
        assert name in spec.draw(drawn)
        assert "sst2, 4-shot" in spec.FIGURE.caption(drawn)
    lines = mechanisms.draw(analysis.run("mechanisms", planted))["mechanisms"].axes[1].lines
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in lines}
    assert drawn["L1H1"][-1] == pytest.approx(0.91)


def test_results_without_mechanisms_have_empty_tables_and_say_what_to_do(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD)
    for name in ("mechanisms", "mechanism_onsets", "ablations", "direct_total"):
        assert analysis.run(name, store.root).is_empty()
    assert "plan key" in mechanisms.FIGURE.missing
