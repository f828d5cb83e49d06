"""Knowledge told from label bias: planted components that know more than the full model, and some that only look so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.bias_or_knowledge import rows as difference_rows
from analysis.statistics.curve_accuracies import design_of
from analysis.statistics.curves import Curve, GroupCurves, component_curves
from figures import bias_or_knowledge
from tests.learning import STEPS as SIMULATED_STEPS
from tests.learning import Design, reader, simulate
from tests.stores import COMPONENTS, add_unit, new_store

STEPS = (0, 1, 2, 4, 8)
GOLD = np.arange(120) % 2
PARTS = len(COMPONENTS)


def unit_logits(seed: int, *, known: dict[int, float], bias: dict[int, float]) -> np.ndarray:
    """Logits (example, part, label): noise, the gold label's logit higher by `known`, label 0's by `bias`, by part."""
    logits = np.random.default_rng(seed).normal(scale=0.2, size=(len(GOLD), PARTS, 2))
    for part, strength in known.items():
        logits[np.arange(len(GOLD)), part, GOLD] += strength
    for part, strength in bias.items():
        logits[:, part, 0] += strength
    return logits


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, in both of which component 3 knows the labels from step 2 on and raw Full does not.

    In `bias`, Full is the sum of it and of an unrelated component with a bias, so it knows as much without the bias. In
    `knowledge` another component works against it with equal strength, so that Full does not know the labels at all.
    """
    store = new_store(tmp_path_factory.mktemp("planted") / "out")
    for step in STEPS:
        strength = 2.0 if step >= 2 else 0.0
        for seed in range(4):
            for task, known in (("bias", {3: strength}), ("knowledge", {3: strength, 5: -strength})):
                logits = unit_logits(100 * step + seed, known=known, bias={7: 6.0})
                add_unit(store, GOLD, GOLD, logits=logits, task=task, step=step, demo_seed=seed)
    return store.root


def late(planted: Path, task: str, curve: str) -> pl.DataFrame:
    return analysis.run("bias_or_knowledge", planted).filter(pl.col("step") >= 2, task=task, curve=curve, template="")


@pytest.mark.parametrize("curve", ["T1", "Held-out T1", "Cross-seed T1"])
def test_a_gap_by_label_bias_leaves_nothing(planted: Path, curve: str) -> None:
    rows = late(planted, "bias", curve)
    assert (rows["gap"] > 0.4).all()
    assert (rows["bias"] > 0.4).all()
    assert (rows["remaining"].abs() < 0.05).all()
    assert (rows["remaining_band_low"] < 0.02).all()


@pytest.mark.parametrize("curve", ["T1", "Held-out T1", "Cross-seed T1"])
def test_a_component_that_knows_what_the_model_does_not_is_found(planted: Path, curve: str) -> None:
    rows = late(planted, "knowledge", curve)
    assert (rows["gap"] > 0.4).all()
    assert (rows["bias"].abs() < 0.15).all()
    assert (rows["remaining_band_low"] > 0.2).all()


def test_the_parts_sum_to_the_gap_and_follow_from_the_curves(planted: Path) -> None:
    table = analysis.run("bias_or_knowledge", planted).filter(template="")
    sums = table["bias"] + table["remaining"] - table["own_bias"]
    assert (sums - table["gap"]).abs().max() < 1e-9
    curves = analysis.run("emergence", planted)
    key = ["task", "step", "curve"]
    for column, curve, centred in (("raw", None, False), ("centred", None, True), ("centred_full", "Full", True)):
        own = curves.filter(centred=centred).select(*key, "mean")
        own = own if curve is None else own.filter(curve=curve).drop("curve")
        both = table.join(own, on=key if curve is None else key[:2])
        assert len(both) == len(table)
        assert (both[column] - both["mean"]).abs().max() < 1e-9


def test_the_band_over_all_steps_holds_the_interval_of_each(planted: Path) -> None:
    table = analysis.run("bias_or_knowledge", planted).filter(curve="Held-out T1", template="")
    width = table["remaining_high"] - table["remaining_low"]
    band = table["remaining_band_high"] - table["remaining_band_low"]
    assert (band >= 0.95 * width).all()
    assert band.sum() > 1.1 * width.sum()


def test_the_figure_draws_every_chosen_curve_and_says_what_remains(planted: Path) -> None:
    table = analysis.run("bias_or_knowledge", planted)
    pictures = bias_or_knowledge.draw(table)
    assert list(pictures) == ["bias_or_knowledge", "bias_or_knowledge_held_out_t1", "bias_or_knowledge_t1"]
    rows = table.filter(task="bias", curve="Cross-seed T1", template="").sort("step")
    below = pictures["bias_or_knowledge"].axes[2]
    (line,) = [line for line in below.lines if line.get_label() == "remaining"]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(rows["remaining"].to_list()[1:])
    assert "Cross-seed T1: bias, 4-shot: largest gap" in bias_or_knowledge.caption(table)


def test_each_template_has_the_differences_of_results_with_it_alone() -> None:
    design = Design(n_seeds=3, n_examples=100)
    answers = simulate(design, seed=3)
    alone = replace(design.common, prompts=design.common.prompts[3:6])
    of_one = {step: one.of_prompts(alone.prompts) for step, one in answers.items()}
    every, single = (
        list(
            difference_rows(
                with_centred(component_curves(reader(given), common, design_of(given[SIMULATED_STEPS[0]], n=300)))
            )
        )
        for given, common in ((answers, design.common), (of_one, alone))
    )
    assert {row["template"] for row in every} == {"", "t0", "t1", "t2"}
    expected = [{**row, "template": "t1"} for row in single if row["template"] == ""]
    found = [row for row in every if row["template"] == "t1"]
    assert len(found) == len(expected) > 0
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, nan_ok=True)
    assert {row["n_prompts"] for row in every} == {3, 9}


def test_a_template_without_centred_answers_of_a_curve_has_no_remaining_difference_and_no_warning() -> None:
    design = Design(n_seeds=3, n_examples=100)
    answers = simulate(design, seed=3)
    curves = component_curves(reader(answers), design.common, design_of(answers[SIMULATED_STEPS[0]], n=300))
    curves = with_centred(curves)

    def without(curve: Curve) -> Curve:
        """As First-T1 is where no prompt of a template is ever above its null."""
        if not (curve.centred and curve.name == "Held-out T1"):
            return curve
        values = curve.values.copy()
        values[:, 3:6] = np.nan
        return replace(curve, values=values)

    rows = [
        row
        for row in difference_rows(replace(curves, curves=tuple(map(without, curves.curves))))
        if row["curve"] == "Held-out T1"
    ]
    missing = {row["template"] for row in rows if row.get("remaining") is None}
    assert missing == {"t1"}


def with_centred(curves: GroupCurves) -> GroupCurves:
    """The same with centred curves, which are T1 in place of Full and Full in place of every other."""
    by_name = {curve.name: curve for curve in curves.curves}
    centred = [replace(by_name["T1" if name == "Full" else "Full"], name=name, centred=True) for name in by_name]
    return replace(curves, curves=curves.curves + tuple(centred))


def test_the_last_picture_has_a_row_per_template(planted: Path) -> None:
    table = analysis.run("bias_or_knowledge", planted)
    one = table.filter(pl.col("template") != "")
    other = one.with_columns(template=pl.lit("second"), remaining=-pl.col("remaining"))
    two = pl.concat([table, other])
    figure = bias_or_knowledge.draw(two)["bias_or_knowledge_templates"]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["paper", "paper", "second", "second"]
    for axes, sign in ((figure.axes[0], 1), (figure.axes[2], -1)):
        rows = one.filter(task="bias", curve="Cross-seed T1").sort("step")
        (line,) = [line for line in axes.lines if line.get_label() == "remaining"]
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx((sign * rows["remaining"][1:]).to_list())
    drawn, before = (bias_or_knowledge.draw(shown)["bias_or_knowledge"].axes for shown in (two, table))
    assert [len(axes.lines) for axes in drawn] == [len(axes.lines) for axes in before]
    assert "with the band of one template above 0, for the last time, paper (step 8: " in bias_or_knowledge.caption(two)
