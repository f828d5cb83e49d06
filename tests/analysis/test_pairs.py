"""The pairs that the analyses know by name are those of the tasks."""

import re
from pathlib import Path

from analysis import ANALYSES
from analysis.reading.pairs import CONTRAST, CONTRASTS_WITH, TRANSFERS, is_contrastive
from dynamics.tasks import TASKS, get_task
from figures import FIGURES


def test_contrastive_pairs_are_the_tasks_first_and_contrast_templates() -> None:
    with_contrast = {name: get_task(name) for name in TASKS if CONTRAST in {t.name for t in get_task(name).templates}}
    assert {name: task.templates[0].name for name, task in with_contrast.items()} == CONTRASTS_WITH
    assert is_contrastive(CONTRASTS_WITH, "sst2", "contrast", "paper")
    assert not is_contrastive(CONTRASTS_WITH, "sst2", "sentiment", "paper")


def test_transfers_take_the_demonstrations_of_their_task() -> None:
    taken = {name: get_task(name).demonstrations_of for name in TASKS}
    assert {name: source for name, source in taken.items() if source} == TRANSFERS


def test_the_page_of_analyses_lists_them_all_and_which_are_drawn() -> None:
    page = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \|.*\|\s*(yes)?\s*\|$", page, re.MULTILINE))
    assert set(listed) == set(ANALYSES)
    assert {name for name, drawn in listed.items() if drawn} == set(FIGURES)
