"""What K labels buy: each number once, whatever it is beside, and a reason where there is none."""

import numpy as np
import pytest

from dynamics.components import component_grid
from dynamics.methods.fits import Fit, fit_unit, heldout_fits
from dynamics.methods.variants import VARIANTS
from dynamics.results.tables import fit_tables, unit_tables
from dynamics.unit_arrays import UnitArrays

COMPONENTS = component_grid(1, 2, attention_bias=False)


def unit(n_train: int, n_test: int, n_shots: int = 4) -> UnitArrays:
    """One unit with random contributions."""
    rng = np.random.default_rng(0)
    shape = (n_train + n_test, len(COMPONENTS), 2)
    parts = rng.normal(size=shape).astype(np.float32)
    return UnitArrays(
        keys={
            "unit_id": "u",
            "model": "toy",
            "step": 0,
            "task": "t",
            "template": "plain",
            "demo_seed": 0,
            "n_shots": 4,
        },
        components=COMPONENTS,
        split=["train"] * n_train + ["test"] * n_test,
        example_id=[str(i) for i in range(shape[0])],
        gold=np.arange(shape[0]) % 2,
        contributions=parts,
        constant=np.zeros(2, np.float32),
        full=parts.sum(1),
        n_shots_used=n_shots,
    )


def fits(*bases: str) -> list[Fit]:
    """Built-in variants at K = 12 and 24."""
    return [Fit(base, base, VARIANTS[base].reweighting, k) for base in bases for k in (12, 24)]


@pytest.mark.parametrize(
    ("bases", "variants"),
    [
        (("default",), ["train_rows"]),
        (("paper", "default"), ["train_rows"]),
        (("paper", "official_code", "default"), ["train_rows", "train_rows_outside"]),
        ((), []),
    ],
)
def test_held_out_t1_is_written_once_for_each_way_of_counting(bases: tuple[str, ...], variants: list[str]) -> None:
    asked = fits(*bases)
    rows = fit_tables([unit(24, 20)], [*asked, *heldout_fits(asked)])["prompt_scores"].to_pylist()
    chosen = [(row["variant"], row["n_labelled"]) for row in rows if row["method"] == "heldout_t1"]
    assert sorted(chosen) == sorted((variant, k) for variant in variants for k in (12, 24))
    assert len({fit.fit_id for fit in heldout_fits(asked)}) == len(chosen)
    assert {row["method"] for row in rows if row["variant"] in bases} == ({"comp_rw", "calib_plus"} if bases else set())


def test_k_counts_demonstrations_inside_or_outside() -> None:
    inside, outside = _by_name()
    assert (inside.n_train(4), outside.n_train(4)) == (8, 12)
    (row,) = fit_unit(unit(8, 20), outside).scores
    assert row["accuracy"] is None
    assert row["reason"] == "K = 12 asks for 12 training rows beside 4 shots; 8 there"
    (row,) = fit_unit(unit(8, 20), inside).scores
    assert 0 <= float(str(row["accuracy"])) <= 1


def _by_name() -> tuple[Fit, Fit]:
    found = {fit.name: fit for fit in heldout_fits(fits("paper", "official_code")) if fit.n_labelled == 12}
    return found["train_rows"], found["train_rows_outside"]


def test_one_test_row_cannot_be_halved_and_says_so() -> None:
    rows = {row["method"]: row for row in unit_tables(unit(2, 1))["prompt_scores"].to_pylist()}
    assert rows["heldout_t1"]["accuracy"] is None
    assert rows["heldout_t1"]["reason"] == "1 test row cannot be halved"
    assert rows["full"]["accuracy"] in (0.0, 0.5, 1.0)
