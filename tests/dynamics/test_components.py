"""Components and their names."""

import pytest

from dynamics.components import Component, candidate_indices, component_grid, parse_component


def test_names_round_trip() -> None:
    for component in component_grid(3, 12, attention_bias=True):
        assert parse_component(component.name) == component


def test_grid_without_attention_bias_has_no_bias_parts() -> None:
    assert [c.name for c in component_grid(1, 2, attention_bias=False)] == ["embed", "L0H0", "L0H1", "L0MLP"]


def test_only_heads_and_mlps_are_candidates() -> None:
    names = [c.name for c in component_grid(2, 1, attention_bias=True)]
    assert [names[i] for i in candidate_indices(names)] == ["L0H0", "L0MLP", "L1H0", "L1MLP"]


@pytest.mark.parametrize("name", ["L1", "H3", "L1H", "l1h2", "embed1", "L1Mlp", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a component; names look like"):
        parse_component(name)


def test_a_component_has_a_layer_and_head_only_where_its_kind_has() -> None:
    with pytest.raises(ValueError, match="cannot have layer"):
        Component("head", 1)
    with pytest.raises(ValueError, match="cannot have layer"):
        Component("embed", 0)
