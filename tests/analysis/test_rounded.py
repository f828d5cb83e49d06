"""Tables are the same whatever the order in which sums were added."""

import polars as pl

from analysis import rounded


def test_noise_of_sums_is_rounded_away_and_small_probabilities_are_not() -> None:
    table = pl.DataFrame(
        {"x": [0.1 + 0.2, 1e-17, None, float("inf")], "p_value": [1e-17, 0.1, None, 1.0], "n": [1, 2, 3, 4]}
    )
    result = rounded(table)
    assert result["x"].to_list() == [0.3, 0.0, None, float("inf")]
    assert result["p_value"].to_list() == table["p_value"].to_list()
    assert result["n"].to_list() == [1, 2, 3, 4]
    assert result.columns == table.columns
