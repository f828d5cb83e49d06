"""Facts about tasks: pairs of templates and of tasks are read from the results, as sweeps record them."""

import re
from pathlib import Path

import numpy as np

from analysis import ANALYSES
from analysis.reading.groups import groups
from analysis.reading.task_facts import comparable_groups, contrastive_pairs, is_contrastive, transfer_sources
from figures.drawing import FIGURES
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(20) % 2
ANSWERS = answering([0.5] * 10, GOLD)


def test_pairs_are_those_that_units_record(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for template, contrasts_with in (("paper", None), ("sentiment", None), ("contrast", "paper")):
        add_unit(store, ANSWERS, GOLD, template=template, contrasts_with=contrasts_with)
    add_unit(store, ANSWERS, GOLD, task="yelp", demonstrations_of="sst2")
    pairs = contrastive_pairs(store.root)
    assert pairs == {"sst2": "paper"}
    assert is_contrastive(pairs, "sst2", "contrast", "paper")
    assert not is_contrastive(pairs, "sst2", "sentiment", "paper")
    assert not is_contrastive(pairs, "yelp", "contrast", "paper")
    assert transfer_sources(store.root) == {"yelp": "sst2"}


def test_a_sweep_of_tasks_without_partners_records_none(results: Path) -> None:
    assert contrastive_pairs(results) == transfer_sources(results) == {}


def test_comparable_groups_differ_in_their_task_only(results: Path) -> None:
    together = comparable_groups(results)
    assert sorted(group for tasks in together for group in tasks) == groups(results)
    for tasks in together:
        assert len({group._replace(task="") for group in tasks}) == 1


def test_the_page_of_analyses_lists_them_all_and_which_are_drawn() -> None:
    page = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \|.*\|\s*(yes|explorer)?\s*\|$", page, re.MULTILINE))
    assert set(listed) == set(ANALYSES)
    assert {name for name, drawn in listed.items() if drawn == "yes"} == set(FIGURES)
