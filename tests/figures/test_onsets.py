"""Lollipops: heads at the onsets, arrows where an onset or an end lies outside the steps there are."""

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes

from analysis.scaling import SCHEMA, n_parameters
from figures import component_onsets, leads, onsets, scaling
from figures.style import CURVES

GROUP = {"model": "m", "dtype": "float32", "control": "none", "task": "t", "n_shots": 4}
FIT = {"centred": False, "variant": "", "n_labelled": 0}
SPAN = {"first_step": 0, "last_step": 64}


def row(**columns: object) -> dict[str, object]:
    """A row of `onsets`, half way at step 8 unless told otherwise."""
    defaults = {"t": 8.0, "low": 4.0, "high": 16.0, "censored": "", "criterion": "half", "curve": "T1"}
    return {**GROUP, **FIT, **SPAN, **defaults, **columns}


def heads(axes: Axes) -> dict[float, tuple[float, object]]:
    """y -> (x, marker) of single points."""
    single = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 1]
    return {
        round(float(np.asarray(p.get_ydata())[0]), 2): (float(np.asarray(p.get_xdata())[0]), p.get_marker())
        for p in single
    }


def bars(axes: Axes, y: float) -> list[list[float]]:
    """Ends of the thick bars at a height."""
    wide = [line for line in axes.lines if line.get_linewidth() > 1.5 and len(np.asarray(line.get_xdata())) == 2]
    return [np.asarray(b.get_xdata()).tolist() for b in wide if abs(float(np.asarray(b.get_ydata())[0]) - y) < 0.01]


def test_an_onset_is_a_head_with_its_interval() -> None:
    table = pl.DataFrame([row(), row(curve="Full", t=32.0, low=16.0, high=None)], infer_schema_length=None)
    (axes,) = onsets.draw(table)["onsets"].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["T1", "Full"]
    assert heads(axes)[-0.16] == (3.0, "o")
    assert bars(axes, -0.16) == [[2.0, 4.0]]
    assert bars(axes, 0.84) == [[4.0, axes.get_xlim()[1]]]
    assert "T1 step 8 (4 to 16)" in onsets.caption(table)
    assert "Full step 32 (16 to …)" in onsets.caption(table)


@pytest.mark.parametrize(("censored", "marker", "side"), [("never", ">", 1), ("before", "<", 0)])
def test_what_lies_outside_the_steps_is_an_arrow(censored: str, marker: str, side: int) -> None:
    table = pl.DataFrame([row(t=None, low=None, high=None, censored=censored)], infer_schema_length=None)
    table = table.with_columns(pl.col("t", "low", "high").cast(pl.Float64))
    (axes,) = onsets.draw(table)["onsets"].axes
    assert heads(axes)[-0.16] == (axes.get_xlim()[side], marker)
    assert censored in onsets.caption(table)


def test_fits_are_told_apart_by_name() -> None:
    fits = [row(curve="COMP RW", variant=v, n_labelled=k) for v in ("default", "official_code") for k in (12, 24)]
    (axes,) = onsets.draw(pl.DataFrame(fits))["onsets"].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(names)) == 4
    assert "COMP RW, official code, K = 24" in names


def test_a_lead_is_a_head_and_a_bound_an_arrow() -> None:
    shared = {**GROUP, **FIT, "curve": "Held-out T1", "n_seeds_ahead": 5, "n_seeds_behind": 0, "p_sign_seeds": 0.0625}
    half = {**shared, "criterion": "half", "lead": 0.5, "low": 0.25, "high": None, "bound": "", "undefined": 0.0}
    null = {**shared, "criterion": "null", "lead": 3.0, "low": 2.0, "high": 4.0, "bound": "at least", "undefined": 0.0}
    table = pl.DataFrame([half, null], infer_schema_length=None)
    (axes,) = leads.draw(table)["leads"].axes
    assert heads(axes)[0.16] == (0.5, "o")
    assert heads(axes)[-0.16] == (3.0, ">")
    assert bars(axes, 0.16) == [[0.25, pytest.approx(axes.get_xlim()[1])]]
    without_interval = {**half, "low": None, "undefined": None}
    (axes,) = leads.draw(pl.DataFrame([without_interval], infer_schema_length=None))["leads"].axes
    assert bars(axes, 0.16) == []
    assert "t, 4-shot: .50 (.25 to …; 5 seeds ahead, 0 behind, p = .062)" in leads.caption(table)


def test_components_are_in_the_order_of_their_onsets() -> None:
    rows = [
        row(component=name, kind=kind, t=t, emerges=t is not None, final=0.9, criterion=component_onsets.CRITERION)
        for name, kind, t in (("L0H1", "head", 16.0), ("L0MLP", "mlp", 4.0), ("L1H0", "head", None))
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    (axes,) = component_onsets.draw(table)["component_onsets"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["L0MLP", "L0H1"]
    assert axes.get_title(loc="left") == "t, 4-shot: 2 of 3 emerge"
    assert heads(axes)[0] == (2.0, "s")
    assert "L0MLP first, at step 4" in component_onsets.caption(table)


def test_leads_and_onsets_are_over_the_size_of_the_model() -> None:
    sized = [
        {**GROUP, **FIT, "model": model, "n_parameters": n_parameters(model), "curve": curve, "criterion": "half"}
        | {"lead": lead, "lead_low": lead, "lead_high": lead, "onset_tokens": 1e9, "onset_tokens_low": 5e8}
        for model, lead in (("a/pythia-70m", 1.0), ("a/pythia-1.4b", 2.0))
        for curve in ("Full", "Held-out T1")
    ]
    table = pl.DataFrame(sized, schema=SCHEMA)
    above, below = scaling.draw(table)["scaling"].axes
    (line,) = [line for line in above.lines if line.get_label() == "Held-out T1"]
    assert np.asarray(line.get_ydata()).tolist() == [1.0, 2.0]
    assert [label.get_text() for label in below.get_xticklabels()] == ["70M", "1.4B"]
    assert "pythia-70m 1.00 and pythia-1.4b 2.00" in scaling.caption(table)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("EleutherAI/pythia-1.4b-deduped", 1_400_000_000),
        ("EleutherAI/pythia-160m-seed3", 160_000_000),
        ("meta-llama/Llama-2-7b-hf", 7_000_000_000),
        ("reference", None),
        ("8b-owner/toy", None),
    ],
)
def test_a_size_is_read_from_the_models_name_alone(model: str, size: int | None) -> None:
    assert n_parameters(model) == size


def test_curves_of_the_analyses_have_a_look() -> None:
    assert set(onsets.ORDER) | set(scaling.LEADS) | set(scaling.ONSETS) <= set(CURVES)
