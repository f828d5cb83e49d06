"""Facts about tasks that `units` records: label words, contrastive templates, whose demonstrations they take."""

from collections.abc import Mapping

import polars as pl

from analysis.reading.groups import GROUP, GROUP_SCHEMA, Group, groups
from analysis.reading.result_tables import load, valid_rows
from dynamics.results.places import Place

CONTRAST = "contrast"
"""Name of the template that differs least from the task's first one: a space, a line break, capitals of the labels."""
SETTING = [name for name in GROUP if name != "task"]
"""What groups of different tasks must have in common to be compared."""


def n_labels(results: Place) -> pl.DataFrame:
    """Number of label words of every task of every model: model, task, n_labels."""
    count = pl.col("label_words").str.split(" ").list.len().max().cast(pl.Int64)
    return valid_rows(results, "units").group_by("model", "task").agg(n_labels=count).collect()


def seeds_draw_words(results: Place, group: Group) -> bool:
    """Whether each demonstration seed of a group has label words of its own."""
    units = valid_rows(results, "units").filter(group.matches)
    by_template = units.group_by("template").agg(pl.col("label_words", "demo_seed").n_unique()).collect()
    return bool(((by_template["label_words"] > 1) & (by_template["demo_seed"] > 1)).any())


def contrastive_pairs(results: Place) -> dict[str, str]:
    """Task -> the template that its template `contrast` differs least from."""
    return _recorded_pairs(results, "contrasts_with")


def is_contrastive(pairs: Mapping[str, str], task: str, template: str, partner: str) -> bool:
    """Whether two templates are the task's contrastive pair."""
    return task in pairs and {template, partner} == {pairs[task], CONTRAST}


def transfer_sources(results: Place) -> dict[str, str]:
    """Transfer task -> the task whose demonstrations, templates and label words it takes."""
    return _recorded_pairs(results, "demonstrations_of")


def _recorded_pairs(results: Place, column: str) -> dict[str, str]:
    """Task -> a column of its units, where it is not null."""
    units = load(results, "units").filter(pl.col(column).is_not_null())
    return dict(units.select("task", column).unique().collect().iter_rows())


def comparable_groups(results: Place) -> list[list[Group]]:
    """Groups that differ in their task only, whose tasks have equally many labels: transfer is among these."""
    rows = pl.DataFrame(groups(results), schema=GROUP_SCHEMA, orient="row")
    rows = rows.join(n_labels(results), on=["model", "task"], how="left", maintain_order="left")
    return [[Group(*row) for row in frame.select(GROUP).rows()] for frame in rows.partition_by(*SETTING, "n_labels")]
