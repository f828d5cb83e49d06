"""From a store to the table: planted templates and demonstrations, shares, and grids that cannot tell."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.sensitivity import SUBJECTS
from analysis.statistics.variance import SOURCES
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(200) % 2
BY_TEMPLATE = {"paper": 0.6, "sentiment": 0.7, "question": 0.9}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Component 0 and the model depend on the template only, component 1 on the demonstrations only; others guess."""
    store = new_store(tmp_path / "out")
    for template, accuracy in BY_TEMPLATE.items():
        for seed in range(4):
            answers = answering([0.1, 0.3 + 0.1 * seed] + [0.5] * 8, GOLD, seed)
            answers[:, 2:] = 0
            answers[:, 0] = answering([accuracy], GOLD)[:, 0]  # the same rows under every seed
            add_unit(store, answers, GOLD, full=answers[:, 0], template=template, demo_seed=seed)
    return store.root


def test_planted_sources_are_found(planted: Path) -> None:
    table = analysis.run("sensitivity", planted)
    assert table["subject"].unique(maintain_order=True).to_list() == list(SUBJECTS)
    full = {row["source"]: row for row in table.filter(subject="Full").to_dicts()}
    assert tuple(full) == SOURCES
    between = np.var(list(BY_TEMPLATE.values()), ddof=1)
    estimates = {source: row["estimate"] for source, row in full.items()}
    assert estimates["template"] + estimates["test_rows"] == pytest.approx(between)
    assert (estimates["demonstrations"], estimates["rest"]) == (0, 0)
    assert 0 < full["test_rows"]["share"] < 0.1
    assert sum(row["share"] for row in full.values()) == pytest.approx(1)
    sizes = ("n_prompts", "n_templates", "n_demo_seeds", "n_examples", "n_components")
    assert [full["rest"][name] for name in sizes] == [12, 3, 4, 200, 10]


def test_every_component_has_its_own_sources(planted: Path) -> None:
    table = analysis.run("component_sensitivity", planted)
    by_template, by_seed, constant = table.head(3).to_dicts()
    assert by_template["template"] > 0.01 > abs(by_template["demonstrations"]) + abs(by_template["rest"])
    assert by_seed["demonstrations"] == pytest.approx(0.1**2 * 5 / 3, abs=0.005)
    assert by_seed["template"] == 0
    assert [constant[source] for source in SOURCES] == [0, 0, 0, 0]
    mean = analysis.run("sensitivity", planted).filter(subject="components")
    assert mean["estimate"].to_list() == pytest.approx([table[source].mean() for source in SOURCES])


def test_negative_estimates_are_truncated_and_marked(results: Path) -> None:
    table = analysis.run("sensitivity", results)
    negative = table.filter(pl.col("estimate") < 0)
    assert len(negative) > 0
    assert negative["variance"].unique().to_list() == [0]
    assert negative["truncated"].all()
    positive = table.filter(pl.col("estimate") >= 0)
    assert positive["variance"].to_list() == positive["estimate"].to_list()
    shares = table.filter(pl.col("share").is_not_null()).group_by("task", "n_shots", "step", "subject")
    np.testing.assert_allclose(shares.agg(pl.col("share").sum())["share"], 1)


def test_one_template_leaves_everything_in_rest(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for seed in range(3):
        add_unit(store, answering([0.5 + 0.1 * seed] * 10, GOLD, seed), GOLD, demo_seed=seed)
    full = analysis.run("sensitivity", store.root).filter(subject="components")
    assert full["estimate"].is_null().to_list() == [True, True, False, False]
    total = full["estimate"].drop_nulls().sum()
    assert total == pytest.approx(0.01)
    assert full["truncated"].to_list() == [None, None, False, False]
