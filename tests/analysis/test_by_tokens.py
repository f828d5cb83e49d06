"""Curves of models over training tokens: the rows of `emergence`, and a line per model in the figure."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from figures import by_tokens
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2
PER_STEP = {"someone/small": 1000, "others/large": 4000, "nobody/untold": None}
STEPS = (0, 1, 2, 4, 8, 16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that learn at 8,000 tokens, one with batches four times as large, one without known tokens."""
    made = new_store(tmp_path_factory.mktemp("tokens") / "out")
    for model, per_step in PER_STEP.items():
        for i, step in enumerate(STEPS):
            tokens = None if per_step is None else step * per_step
            answers = answering([0.9 if (tokens or 0) >= 8000 else 0.5] * 10, GOLD, i)
            add_unit(made, answers, GOLD, full=answers[:, 0], model=model, step=step, tokens_seen=tokens)
    add_unit(made, answers, GOLD, full=answers[:, 0], model="someone/small", task="alone", step=1, tokens_seen=1000)
    return made.root


def test_it_has_the_rows_of_models_that_are_asked_the_same_and_whose_tokens_are_known(store: Path) -> None:
    table, emergence = analysis.run("by_tokens", store), analysis.run("emergence", store)
    expected = emergence.filter(pl.col("model") != "nobody/untold", pl.col("step") > 0, pl.col("task") != "alone")
    assert table.sort(table.columns).equals(expected.sort(table.columns))
    full = table.filter(curve="Full", centred=False)
    reached = full.filter(pl.col("mean") > 0.8).group_by("model").agg(pl.col("step", "tokens_seen").min()).sort("model")
    assert reached.rows() == [("others/large", 2, 8000), ("someone/small", 8, 8000)]


def test_the_figure_has_a_line_per_model_over_tokens(store: Path) -> None:
    table = analysis.run("by_tokens", store)
    figure = by_tokens.draw(table)["by_tokens"]
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == ["Full", "Full less its bias", "Held-out T1"]
    lines = {line.get_label(): line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 5}
    assert set(lines) == {"small", "large"}
    for model, line in (("someone/small", lines["small"]), ("others/large", lines["large"])):
        rows = table.filter(curve="Full", centred=False, model=model)
        assert np.asarray(line.get_xdata()) == pytest.approx(np.log10(rows["tokens_seen"].to_numpy()))
        assert np.asarray(line.get_ydata()) == pytest.approx(rows["mean"].to_numpy())
    assert "large .90 at 64k, small .90 at 16k" in by_tokens.caption(table)


def test_there_is_nothing_with_one_model(results: Path) -> None:
    assert analysis.run("by_tokens", results).is_empty()
    assert by_tokens.FIGURE.missing
