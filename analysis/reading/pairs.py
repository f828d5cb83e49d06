"""Which templates and tasks belong together: contrastive pairs and transfer tests, as data.

The store knows names only. A test holds both tables against the tasks themselves. A task that a plan defines says in
`units` what its template `contrast` belongs to.
"""

from collections.abc import Mapping

import polars as pl

from analysis.reading.loading import load
from dynamics.results.places import Place

CONTRAST = "contrast"
"""Name of the template that differs least from the task's first one: a space, a line break, capitals of the labels."""

CONTRASTS_WITH = {
    "agnews": "paper",
    "arc_easy": "exam",
    "boolq": "paper",
    "boolq_cst": "paper",
    "cb": "believes",
    "mednli": "suppose",
    "mnli": "suppose",
    "mrpc": "paraphrase",
    "qqp": "paper",
    "rte": "follows",
    "sst2": "paper",
    "wic": "same",
    "yelp": "paper",
}
"""Task -> its first template, the other half of the pair. Published for SST-2, BoolQ, QQP and AGNews."""

TRANSFERS = {"boolq_cst": "boolq", "mednli": "mnli", "yelp": "sst2"}
"""Out-of-distribution task -> the task whose demonstrations, templates and label words it takes."""


def contrastive_pairs(results: Place) -> dict[str, str]:
    """Task -> the template that its template `contrast` belongs to, for known tasks and those in the results."""
    units = load(results, "units").filter(pl.col("contrasts_with").is_not_null())
    return CONTRASTS_WITH | dict(units.select("task", "contrasts_with").unique().collect().iter_rows())


def is_contrastive(pairs: Mapping[str, str], task: str, one: str, other: str) -> bool:
    """Whether two templates are the task's contrastive pair."""
    return task in pairs and {one, other} == {pairs[task], CONTRAST}
