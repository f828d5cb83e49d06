"""Fits on K labels: each number once, independent of other fits, and a reason where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from dynamics.components import component_grid
from dynamics.label_bias import FORMS
from dynamics.methods.fits import FIT_METHODS, Fit, fit_units, heldout_fits
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
def test_held_out_t1_is_written_once_with_and_once_without_the_demonstrations(
    bases: tuple[str, ...], variants: list[str]
) -> None:
    requested = fits(*bases)
    rows = fit_tables([unit(24, 20)], [*requested, *heldout_fits(requested)])["prompt_scores"].to_pylist()
    chosen = [(row["variant"], row["n_labelled"]) for row in rows if row["method"] == "heldout_t1"]
    assert sorted(chosen) == sorted((variant, k) for variant in variants for k in (12, 24))
    assert len({fit.fit_id for fit in heldout_fits(requested)}) == len(chosen)
    assert {row["method"] for row in rows if row["variant"] in bases} == (set(FIT_METHODS) if bases else set())


def test_k_counts_demonstrations_inside_or_outside() -> None:
    inside, outside = _by_name()
    assert (inside.n_train(4), outside.n_train(4)) == (8, 12)
    for row in fit_units([unit(8, 20)], outside)[0].scores:
        assert row["accuracy"] is None
        assert row["reason"] == "K = 12 asks for 12 training rows beside 4 shots; 8 there"
    for row in fit_units([unit(8, 20)], inside)[0].scores:
        assert 0 <= float(str(row["accuracy"])) <= 1


def _by_name() -> tuple[Fit, Fit]:
    by_name = {fit.name: fit for fit in heldout_fits(fits("paper", "official_code")) if fit.n_labelled == 12}
    return by_name["train_rows"], by_name["train_rows_outside"]


def test_one_test_row_cannot_be_halved_and_says_so() -> None:
    rows = {row["method"]: row for row in unit_tables(unit(2, 1))["prompt_scores"].to_pylist()}
    assert rows["heldout_t1"]["accuracy"] is None
    assert rows["heldout_t1"]["reason"] == "1 test row cannot be halved"
    assert rows["full"]["accuracy"] in (0.0, 0.5, 1.0)


def test_centred_predictions_are_less_the_mean_of_their_own_split() -> None:
    arrays = unit(24, 20)
    rows = unit_tables(arrays)["predictions"].to_pylist()
    for first, last in ((0, 24), (24, 44)):
        full, parts = arrays.full[first:last], arrays.contributions[first:last]
        assert [row["centred_full"] for row in rows[first:last]] == (full - full.mean(0)).argmax(-1).tolist()
        expected = (parts - parts.mean(0)).argmax(-1).tolist()
        assert [row["centred_predictions"] for row in rows[first:last]] == expected


@pytest.mark.parametrize("bias", [0, 100])
def test_centred_accuracies_do_not_depend_on_a_bias_of_the_labels(bias: int) -> None:
    """A bias added to a component's label changes its accuracy, and no score from which the mean is taken off."""
    before = unit(24, 20)
    biased = replace(before, contributions=before.contributions.copy())
    biased.contributions[:, 1, 0] += bias
    biased = replace(biased, full=biased.contributions.sum(1))

    def scores_of(arrays: UnitArrays) -> dict[str, list[float]]:
        tables = unit_tables(arrays)
        by_component = tables["component_scores"].to_pylist()
        by_method = tables["prompt_scores"].to_pylist()
        return {
            "raw": [row["accuracy"] for row in by_component],
            "free of bias": [
                value
                for row in by_component
                for value in (row["centred_accuracy"], row["train_centred_accuracy"], row["auc"])
            ],
            "methods free of bias": [row["accuracy"] for row in by_method if "centred" in row["method"]],
        }

    expected, actual = scores_of(before), scores_of(biased)
    assert (actual["raw"] == expected["raw"]) == (bias == 0)
    assert actual["free of bias"] == pytest.approx(expected["free of bias"])
    assert actual["methods free of bias"] == pytest.approx(expected["methods free of bias"])


def test_held_out_t1_is_chosen_and_scored_in_each_form() -> None:
    arrays = unit(24, 20)
    candidates = [i for i, c in enumerate(arrays.components) if c.is_candidate]
    train, test = arrays.contributions[:24, candidates], arrays.contributions[24:, candidates]
    fit = next(fit for fit in heldout_fits(fits("default")) if fit.n_labelled == 24)
    by_form = {row["method"]: row for row in fit_units([arrays], fit)[0].scores}
    means = [(0, 0), (train.mean(0), test.mean(0)), (train.mean(0), train.mean(0))]
    for form, (chosen_by, scored_by) in zip(FORMS, means, strict=True):
        seen = ((train - chosen_by).argmax(-1) == arrays.gold[:24, None])[:20].mean(0)
        best = [arrays.components[candidates[i]].name for i in np.flatnonzero(seen == seen.max())]
        row = by_form[f"{form}heldout_t1"]
        assert row["component"] in best
        index = [arrays.components[i].name for i in candidates].index(str(row["component"]))
        assert row["accuracy"] == ((test - scored_by).argmax(-1) == arrays.gold[24:, None]).mean(0)[index]


def test_without_training_rows_means_over_them_are_null_with_a_reason() -> None:
    tables = unit_tables(unit(0, 20))
    assert tables["component_scores"]["train_centred_accuracy"].null_count == len(COMPONENTS)
    for row in tables["prompt_scores"].to_pylist():
        assert (row["reason"] == "no training rows to take means over") == row["method"].startswith("train_centred_")
