"""Messages of unknown names."""

import pytest

from dynamics.errors import unknown

NAMES = ("component_heatmap", "component_heatmap_by_prompt", "emergence", "onsets")


@pytest.mark.parametrize(
    ("typed", "meant"), [("emergense", "emergence"), ("heatmap", "component_heatmap"), ("Heatmap", "component_heatmap")]
)
def test_the_nearest_name_or_the_shortest_that_contains_it(typed: str, meant: str) -> None:
    assert f"; did you mean {meant!r}?" in unknown("figure", typed, NAMES)


@pytest.mark.parametrize("typed", ["on", "xyzzy", ""])
def test_nothing_is_suggested_where_nothing_is_near(typed: str) -> None:
    assert "did you mean" not in unknown("figure", typed, NAMES)
