"""Messages about unknown names: the nearest is suggested, or one that contains what was written."""

import pytest

from dynamics.errors import unknown

FIGURES = ("emergence", "onsets", "component_onsets", "component_heatmap")


@pytest.mark.parametrize(
    ("value", "suggested"),
    [
        ("heatmap", "component_heatmap"),
        ("HEAT", "component_heatmap"),
        ("nsets", "onsets"),
        ("component", "component_onsets"),
        ("ea", None),
        ("zzz", None),
    ],
)
def test_a_name_that_is_near_or_contains_the_value_is_suggested(value: str, suggested: str | None) -> None:
    hint = f"; did you mean {suggested!r}?" if suggested else "."
    assert unknown("figure", value, FIGURES) == f"unknown figure {value!r}{hint} Allowed: {', '.join(FIGURES)}"
