"""Label bias over training, against obvious readings of stored contributions."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from dynamics.results.contributions import contribution_arrays
from figures import label_bias
from tests.stores import COMPONENTS, add_unit, new_store

STEPS = (0, 1, 2)
GOLD = np.arange(60) % 3
ORDER = {component.name: i for i, component in enumerate(COMPONENTS)}


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps, two prompts, three labels; the bias turns at step 2."""
    store = new_store(tmp_path_factory.mktemp("biased") / "out")
    for step in STEPS:
        for seed in (0, 1):
            logits = np.random.default_rng([step, seed]).normal(scale=0.3, size=(len(GOLD), len(COMPONENTS), 3))
            logits[:, 4, 0 if step < 2 else 2] += 3 + seed
            logits[np.arange(len(GOLD)), 2, GOLD] += step
            add_unit(store, GOLD, GOLD, logits=logits, step=step, demo_seed=seed)
    return store.root


def arrays(root: Path, step: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Contributions (example, component, label) and logits (example, label)."""
    rows = analysis.load(root, "contributions").filter(step=step, demo_seed=seed).sort("example_id").collect()
    stored = contribution_arrays(rows)
    return stored.contributions.astype(float), stored.full.astype(float)


def bias_of(logits: np.ndarray) -> np.ndarray:
    means = logits.mean(0)
    return means - means.mean(-1, keepdims=True)


def test_each_step_has_the_bias_of_its_logits(biased: Path) -> None:
    table = analysis.run("label_bias", biased)
    assert table["step"].to_list() == list(STEPS)
    for row in table.iter_rows(named=True):
        full = [arrays(biased, row["step"], seed)[1] for seed in (0, 1)]
        last = [bias_of(arrays(biased, STEPS[-1], seed)[1]) for seed in (0, 1)]
        own = [bias_of(logits) for logits in full]
        shares = [np.bincount(logits.argmax(1), minlength=3).max() / len(GOLD) for logits in full]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(own, last, strict=True)]
        centred = [((logits - logits.mean(0)).argmax(1) == GOLD).mean() for logits in full]
        assert row["label_share_max"] == pytest.approx(np.mean(shares))
        assert row["gap"] == pytest.approx(np.mean([b.max() - b.min() for b in own]), rel=1e-5)
        assert row["similarity_to_final"] == pytest.approx(np.mean(cosines), rel=1e-5)
        assert row["centred_accuracy"] == pytest.approx(np.mean(centred))
        assert row["chance"] == pytest.approx(1 / 3)
    assert table["similarity_to_previous"][0] is None
    assert table["similarity_to_previous"][2] < 0 < table["similarity_to_previous"][1]
    assert table["similarity_to_previous_sd"][0] is None


def test_parts_of_components_sum_to_the_bias_of_the_full_model(biased: Path) -> None:
    table = analysis.run("label_bias_by_component", biased)
    sums = table.group_by("step").agg(pl.col("part").sum())
    assert sums["part"].to_list() == pytest.approx([1.0] * len(STEPS))
    for step in STEPS:
        parts = table.filter(step=step)
        parts = parts.sort(pl.col("component").replace_strict(ORDER))
        assert len(parts) == len(COMPONENTS)
        own, whole = [], []
        for seed in (0, 1):
            contributions, full = arrays(biased, step, seed)
            own.append(bias_of(contributions) @ bias_of(full))
            whole.append(bias_of(full) @ bias_of(full))
        assert parts["part"].to_list() == pytest.approx((sum(own) / sum(whole)).tolist(), rel=1e-4, abs=1e-6)
        assert parts.sort("part")["component"][-1] == COMPONENTS[4].name


def test_a_model_without_bias_has_no_parts(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, GOLD, GOLD, logits=np.zeros((len(GOLD), len(COMPONENTS), 3)))
    assert analysis.run("label_bias_by_component", store.root)["part"].is_null().all()
    assert analysis.run("label_bias", store.root)["similarity_to_final"].is_null().all()


def test_the_figure_shows_ranking_apart_from_bias(biased: Path) -> None:
    table = analysis.run("label_bias", biased)
    (figure,) = label_bias.draw(table).values()
    (line,) = [line for line in figure.axes[1].lines if line.get_label() == "auc"]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(table["auc"].to_list()[1:])
    assert "Furthest apart: sst2, 4-shot: step" in label_bias.caption(table)
