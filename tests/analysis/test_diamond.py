"""Every component inside what balanced rows allow, and planted ones at the corners."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from tests.stores import add_unit, answering, new_store


def test_accuracy_and_share_lie_in_the_diamond_and_follow_from_the_recalls(results: Path) -> None:
    table = analysis.run("diamond", results)
    wide = table.pivot("label", index=["task", "n_shots", "step", "component", "accuracy"], values=["recall", "share"])
    r0, r1, x, y = (wide[name].to_numpy() for name in ("recall_0", "recall_1", "share_1", "accuracy"))
    np.testing.assert_allclose(y, (r0 + r1) / 2)
    np.testing.assert_allclose(x, (1 - r0 + r1) / 2)
    assert (np.abs(y - 0.5) <= np.minimum(x, 1 - x) + 1e-9).all()


def test_planted_corners_are_at_the_corners(tmp_path: Path) -> None:
    store, gold = new_store(tmp_path / "out"), np.arange(40) % 2
    answers = answering([1.0, 0.0] + [0.5] * 8, gold)
    answers[:, 2], answers[:, 3] = 0, 1
    add_unit(store, answers, gold)
    table = analysis.run("diamond", store.root).filter(label=1)
    corners = {row["component"]: (row["share"], row["accuracy"], row["top_share"]) for row in table.to_dicts()}
    assert corners["L0H0"] == (0.5, 1.0, 0.5)
    assert corners["L0H1"] == (0.5, 0.0, 0.5)
    assert corners["L0H2"] == (0.0, 0.5, 1.0)
    assert corners["L0H3"] == (1.0, 0.5, 1.0)


def test_four_labels_lie_in_the_outline(tmp_path: Path) -> None:
    store, gold = new_store(tmp_path / "out"), np.arange(80) % 4
    add_unit(store, np.random.default_rng(0).integers(0, 4, (80, 10)), gold)
    table = analysis.run("diamond", store.root)
    assert table.filter(component="L1MLP")["share"].sum() == pytest.approx(1)
    outside = (pl.col("accuracy") > 1.25 - pl.col("top_share") + 1e-9) | (
        pl.col("accuracy") < pl.col("top_share") - 0.75 - 1e-9
    )
    assert table.filter(outside).is_empty()
