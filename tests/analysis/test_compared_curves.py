"""Leads of curves over one another: every pair once, as large as planted, with the sign of the direction."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.leads import rows
from analysis.statistics.component_choice import B1, CALIB, COMP_RW, FULL, T1
from analysis.statistics.curve_accuracies import design_of
from analysis.statistics.curves import Curve, GroupCurves, component_curves
from analysis.statistics.onset import log2_steps
from tests.learning import STEPS, Design, reader, simulate

HALF_AT = {
    (FULL, False, 0): 7.0,
    (FULL, True, 0): 5.0,
    (T1, False, 0): 6.0,
    (T1, True, 0): 5.5,
    (B1, False, 0): 6.0,
    (COMP_RW, False, 12): 6.5,
    (COMP_RW, False, 24): 6.2,
    (COMP_RW, True, 24): 4.6,
    (CALIB, False, 12): 6.8,
    (CALIB, False, 24): 6.0,
}
"""(curve, centred, n_labelled) -> log2 of the step at which it is half way."""
PAIRS = {
    (T1, False, 0): [(FULL, False, 0), (FULL, True, 0)],
    (T1, True, 0): [(FULL, True, 0)],
    (COMP_RW, False, 12): [(FULL, False, 0), (FULL, True, 0), (CALIB, False, 12)],
    (COMP_RW, False, 24): [(FULL, False, 0), (FULL, True, 0), (CALIB, False, 24)],
    (COMP_RW, True, 24): [(FULL, True, 0), (CALIB, False, 24)],
    (CALIB, False, 12): [(FULL, False, 0), (FULL, True, 0)],
    (CALIB, False, 24): [(FULL, False, 0), (FULL, True, 0)],
    (FULL, True, 0): [
        (FULL, False, 0), (COMP_RW, False, 12), (COMP_RW, False, 24), (CALIB, False, 12), (CALIB, False, 24),
    ],
}  # fmt: skip
"""Curve -> those that its leads are over."""


Rows = list[dict[str, object]]


@pytest.fixture(scope="module")
def group() -> GroupCurves:
    """Logistic curves that rise at the steps of `HALF_AT`, each template and seed a little apart."""
    design = Design(n_seeds=3, n_examples=100)
    answers = simulate(design, seed=3)
    simulated = component_curves(reader(answers), design.common, design_of(answers[STEPS[0]], n=200))
    like = next(curve for curve in simulated.curves if curve.name == FULL)
    return replace(simulated, curves=tuple(risen(like, *key) for key in HALF_AT))


@pytest.fixture(scope="module")
def leads(group: GroupCurves) -> Rows:
    return list(rows(group))


def risen(like: Curve, name: str, centred: bool, n_labelled: int) -> Curve:
    late = np.linspace(-0.2, 0.2, like.values.shape[1])
    values = 0.5 + 0.4 / (1 + np.exp(-3 * (log2_steps(STEPS)[:, None] - HALF_AT[name, centred, n_labelled] - late)))
    noise = like.resampled - like.resampled.mean(-1, keepdims=True)
    variant = "default" if n_labelled else ""
    own = {"name": name, "centred": centred, "variant": variant, "n_labelled": n_labelled}
    return replace(like, **own, values=values, resampled=values[..., None] + noise)


def pair(row: dict[str, object]) -> tuple[tuple[object, ...], tuple[object, ...]]:
    own, other = (tuple(row[prefix + name] for name in ("centred", "n_labelled")) for prefix in ("", "over_"))
    return (row["curve"], *own), (row["over"], *other)


def test_every_pair_is_compared_once(leads: Rows) -> None:
    found = [pair(row) for row in leads if row["template"] == "" and row["criterion"] == "area"]
    assert sorted(map(str, found)) == sorted(str((own, other)) for own, others in PAIRS.items() for other in others)
    assert {row["over_variant"] for row in leads} == {"", "default"}


@pytest.mark.parametrize("criterion", ["area", "half"])
def test_a_lead_is_how_much_earlier_the_curve_rises_than_the_other(leads: Rows, criterion: str) -> None:
    for row in leads:
        if row["criterion"] == criterion:
            own, other = pair(row)
            ahead = HALF_AT[other] - HALF_AT[own]
            assert row["lead"] == pytest.approx(ahead, abs=0.1)
            assert row["low"] < row["lead"] < row["high"]
            if criterion == "half":
                assert (row["n_ahead"], row["n_behind"])[ahead < 0] > 0


def test_the_two_directions_of_a_pair_differ_in_sign(leads: Rows) -> None:
    by_pair = {(pair(row), row["criterion"], row["template"]): row for row in leads if row["lead"] is not None}
    both = [(row, by_pair.get((key[0][::-1], *key[1:]))) for key, row in by_pair.items()]
    assert len({pair(row) for row, back in both if back is not None}) == 8
    for row, back in both:
        if back is not None:
            assert row["lead"] == pytest.approx(-back["lead"])
            low, high = row["low"], back["high"]
            assert low is high is None or low == pytest.approx(-high, abs=0.1)


def test_single_templates_are_compared_with_other_curves_by_area_alone(leads: Rows) -> None:
    for row in leads:
        own, other = pair(row)
        by_template = other == (FULL, own[1], 0) or row["criterion"] == "area"
        assert by_template or row["template"] == ""
        if row["template"] == "":
            assert row["n_templates"] == 3
            assert (row["templates_reason"] == "single templates are compared with this curve by area") != by_template
    templates = [row["template"] for row in leads if row["criterion"] == "area"]
    assert {templates.count(name) for name in ("", "t0", "t1", "t2")} == {sum(map(len, PAIRS.values()))}


def test_without_centred_answers_each_curve_is_compared_with_full_alone(group: GroupCurves) -> None:
    raw = replace(group, curves=tuple(curve for curve in group.curves if not curve.centred))
    found = list(rows(raw))
    assert {row["over"] for row in found if row["curve"] != COMP_RW} == {FULL}
    assert {(row["over"], row["over_centred"]) for row in found} == {(FULL, False), (CALIB, False)}
