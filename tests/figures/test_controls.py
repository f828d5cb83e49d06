"""The figure of controls: one row per method, every number as in the table; other figures leave controls out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes

import analysis
from figures import controls, drawing
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, trained at step 8, under two seeds of each control."""
    store = new_store(tmp_path_factory.mktemp("planted") / "out")
    shares = {"none": 0.9, "random_init-0": 0.5, "random_init-1": 0.56, "shuffled_labels-0": 0.46}
    for task in ("sst2", "rte"):
        for control, share in shares.items():
            extra = [{"method": "comp_rw", "variant": "default", "n_labelled": 24, "accuracy": share - 0.01}]
            answers = answering([share] + [0.5] * 9, GOLD)
            step = 0 if control.startswith("random") else 8
            add_unit(store, answers, GOLD, full=answers[:, 0], scores=extra, task=task, control=control, step=step)
    return store.root


def points(axes: Axes, marker: str) -> dict[float, float]:
    """y -> x of every single point with a marker."""
    lines = [line for line in axes.lines if line.get_marker() == marker and len(np.asarray(line.get_xdata())) == 1]
    return {round(float(np.asarray(line.get_ydata())[0])): float(np.asarray(line.get_xdata())[0]) for line in lines}


def test_every_method_has_a_row_with_trained_and_controls(planted: Path) -> None:
    table = analysis.run("controls", planted)
    figure = controls.draw(table)["controls"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["rte, 4-shot", "sst2, 4-shot"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [
        "Full",
        "Full, centred",
        "Batch calibration",
        "COMP RW, default, K = 24",
        "Held-out T1, split half",
        "Held-out T1, centred, split half",
        "T1",
        "T1, centred",
        "B1",
    ]
    for axes, task in zip(figure.axes, ("rte", "sst2"), strict=True):
        full = table.filter(task=task, method="full")
        assert points(axes, "D")[0] == pytest.approx(full["trained_accuracy"][0]) == pytest.approx(0.9)
        assert points(axes, "o")[0] == pytest.approx(0.53)
        assert points(axes, "x")[0] == pytest.approx(0.46)
        fitted = names.index("COMP RW, default, K = 24")
        assert points(axes, "x")[fitted] == pytest.approx(0.45)
        bars = [np.asarray(line.get_xdata()) for line in axes.lines if len(np.asarray(line.get_xdata())) == 2]
        low, high = full.filter(control="random_init").select("low", "high").row(0)
        assert any(np.allclose(bar, (low, high)) for bar in bars)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["trained", "random weights", "shuffled labels", "guessing"]


def test_other_figures_leave_controls_out_and_their_csv_keeps_them(planted: Path, tmp_path: Path) -> None:
    table = analysis.run("emergence", planted)
    assert drawing.without_controls(table)["control"].unique().to_list() == ["none"]
    only_controls = table.filter(pl.col("control") != "none")
    assert drawing.without_controls(only_controls).equals(only_controls)
    drawing.draw("emergence", planted, tmp_path)
    assert pl.read_csv(tmp_path / "emergence.csv")["control"].n_unique() == 4
