"""Lollipops: heads at the onsets, arrows where an onset or an end lies outside the steps there are."""

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes

from analysis.scaling import SCHEMA, n_parameters
from figures import component_onsets, leads, onsets, scaling
from figures.style import CURVES, FAINT

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
    assert "Full step 32 (16 to …)" in onsets.caption(table)


def test_the_bracket_is_a_thin_line_to_the_edge_where_it_has_no_end() -> None:
    rows = [row(first_passage=2.0, last_exit=16.0), row(curve="Full", first_passage=4.0, last_exit=None)]
    (axes,) = onsets.draw(pl.DataFrame(rows, infer_schema_length=None))["onsets"].axes
    thin = [line for line in axes.lines if line.get_marker() == "|"]
    assert [np.asarray(line.get_xdata()).tolist() for line in thin] == [[1.0, 4.0], [2.0, axes.get_xlim()[1]]]
    (without,) = onsets.draw(pl.DataFrame([row()], infer_schema_length=None))["onsets"].axes
    assert not [line for line in without.lines if line.get_marker() == "|"]


@pytest.mark.parametrize(
    ("censored", "marker", "side", "words"),
    [
        ("never", ">", 1, "Full never"),
        ("falls", ">", 1, "Full rises and falls"),
        ("before", "<", 0, "Full before the first step"),
    ],
)
def test_what_lies_outside_the_steps_is_an_arrow(censored: str, marker: str, side: int, words: str) -> None:
    table = pl.DataFrame([row(curve="Full", t=None, low=None, high=None, censored=censored)], infer_schema_length=None)
    table = table.with_columns(pl.col("t", "low", "high").cast(pl.Float64))
    (axes,) = onsets.draw(table)["onsets"].axes
    assert heads(axes)[-0.16] == (axes.get_xlim()[side], marker)
    assert words in onsets.caption(table)


def test_each_curve_has_a_row_in_both_forms_and_t1_is_faint_and_last() -> None:
    curves = ("T1", "Full", "Last-T1", "Held-out T1")
    rows = [row(curve=curve, centred=form, t=2.0 if form else 8.0) for curve in curves for form in (False, True)]
    fits = [row(curve="COMP RW", variant="default", n_labelled=k, t=float(k)) for k in (32, 16)]
    table = pl.DataFrame(rows + fits, infer_schema_length=None)
    (axes,) = onsets.draw(table)["onsets"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "T1, less label bias", "T1", "COMP RW", "Held-out T1, less label bias", "Held-out T1",
        "Full, less label bias", "Full",
    ]  # fmt: skip
    assert [round(x) for x, _ in heads(axes).values()] == [1, 3, 5, 1, 3, 1, 3]
    opaque = {line.get_alpha() for line in axes.lines if line.get_color() == CURVES["Full"]["color"]}
    faint = {line.get_alpha() for line in axes.lines if line.get_color() == CURVES["T1"]["color"]}
    assert max(faint) == FAINT < max(opaque) == 1
    assert "Full step 8 (4 to 16), Held-out T1 step 8 (4 to 16), Full less its label bias step 2" in onsets.caption(
        table
    )


def lead_row(**columns: object) -> dict[str, object]:
    """A row of `leads`: .5 doublings by area, all templates, unless told otherwise."""
    defaults = {"curve": "Held-out T1", "template": "", "criterion": "area", "lead": 0.5, "low": 0.25, "high": 1.0}
    defaults |= {"bound": "", "reason": "", "undefined": 0.0, "grid_limited": False, "n_templates": 3}
    defaults |= {"over": "Full", "over_centred": False, "over_variant": "", "over_n_labelled": 0}
    defaults |= {"templates_low": None, "templates_high": None}
    return {**GROUP, **FIT, **defaults, **columns}


def leads_of(*rows: dict[str, object], picture: str = "leads") -> tuple[Axes, str]:
    table = pl.DataFrame(list(rows), infer_schema_length=None)
    (axes,) = leads.draw(table)[picture].axes
    return axes, leads.caption(table)


def colours(axes: Axes) -> dict[float, object]:
    """y -> colour of single points."""
    single = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 1]
    return {round(float(np.asarray(point.get_ydata())[0]), 2): point.get_color() for point in single}


def test_a_lead_is_a_head_and_a_bound_an_arrow_in_the_picture_of_its_criterion() -> None:
    half = lead_row(criterion="half", lead=0.75, low=0.5, high=None, bound="at least")
    by_picture = {"leads": (0.5, "o"), "leads_half": (0.75, ">")}
    drawn = {picture: leads_of(lead_row(), half, picture=picture)[0] for picture in by_picture}
    assert {picture: heads(axes) for picture, axes in drawn.items()} == {
        picture: {-0.27: head} for picture, head in by_picture.items()
    }
    assert bars(drawn["leads"], -0.27) == [[0.25, 1.0]]
    assert bars(drawn["leads_half"], -0.27) == [[0.5, pytest.approx(drawn["leads_half"].get_xlim()[1])]]
    axes, caption = leads_of(lead_row(low=None, high=None, undefined=None))
    assert bars(axes, -0.27) == []
    assert "t, 4-shot: over Full .50 (… to …)" in caption


def test_leads_with_and_without_label_bias_are_told_apart() -> None:
    without = {"over_centred": True, "lead": -0.5}
    both = {"centred": True, "over_centred": True, "lead": -0.25}
    bias = lead_row(curve="Full", centred=True, lead=1.5)
    axes, caption = leads_of(lead_row(), lead_row(**without), lead_row(**both), bias)
    assert heads(axes) == {-0.27: (0.5, "o"), 0.0: (-0.5, "^"), 0.27: (-0.25, "s"), 4.0: (1.5, "D")}
    assert len(set(colours(axes).values())) == 4
    assert "over Full less its label bias −.50 (.25 to 1.00), both less their label bias −.25" in caption
    assert "Full less its label bias over Full 1.50" in caption


def test_t1_chosen_on_its_own_rows_is_faint_and_last() -> None:
    axes, _ = leads_of(lead_row(), lead_row(curve="T1"))
    opacity = {
        round(float(np.asarray(line.get_ydata())[0]), 2): line.get_alpha()
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert opacity[-0.27] == 1
    assert opacity[5.73] == FAINT
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (names[0], names[-1]) == ("Held-out T1", "T1: optimistic bound")


def test_comp_rw_over_calib_has_a_row_of_its_own() -> None:
    fits = {"curve": "COMP RW", "variant": "default", "n_labelled": 24}
    axes, _ = leads_of(
        lead_row(**fits), lead_row(**fits, over="Calib+", lead=0.1), lead_row(**{**fits, "n_labelled": 12}, lead=9.0)
    )
    assert heads(axes) == {1.73: (0.5, "o"), 4.73: (0.1, "o")}


def test_a_lead_that_the_grid_limits_is_crossed_out_and_named() -> None:
    axes, caption = leads_of(lead_row(grid_limited=True))
    assert heads(axes)[-0.27] == (0.5, "x")
    assert "grid_limited" in [line.get_label() for line in axes.lines]
    assert "over Full .50 (.25 to 1.00; grid-limited)" in caption


def test_templates_are_ticks_and_three_are_called_few() -> None:
    single = [lead_row(template=name, lead=lead) for name, lead in (("a", 0.1), ("b", 0.9))]
    axes, caption = leads_of(lead_row(templates_low=-0.5, templates_high=1.5), *single)
    ticks = [line for line in axes.lines if line.get_label() == "template"]
    assert sorted(float(np.asarray(tick.get_xdata())[0]) for tick in ticks) == [0.1, 0.9]
    assert len([line for line in axes.lines if line.get_marker() == "o" and len(np.asarray(line.get_xdata()))]) == 1
    assert "over 3 templates, which are few, −.50 to 1.50" in caption
    many = lead_row(templates_low=-0.5, templates_high=1.5, n_templates=8)
    assert "over 8 templates −.50 to 1.50" in leads_of(many)[1]


def test_a_lead_that_is_not_there_says_why() -> None:
    none = lead_row(lead=None, low=None, high=None, bound="undefined", reason="neither emerges")
    axes, caption = leads_of(none, lead_row(curve="COMP RW"))
    assert "t, 4-shot: over Full none (neither emerges)" in caption
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("no lead", -0.27)]


def test_components_are_in_the_order_of_their_onsets() -> None:
    rows = [
        row(component=name, kind=kind, t=t, emerges=t is not None, final=0.9, criterion=component_onsets.CRITERION)
        | dict.fromkeys(("step_before", "step_after", "step", "low"), t)
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
        {**GROUP, **FIT, "model": model, "n_parameters": n_parameters(model), "curve": curve, "criterion": criterion}
        | ({"lead": lead, "lead_low": lead, "lead_high": lead, "grid_limited": lead > 1} if criterion == "area" else {})
        | ({"lead": -9.0, "onset_tokens": 1e9, "onset_tokens_low": 5e8} if criterion == "half" else {})
        for model, lead in (("a/pythia-70m", 1.0), ("a/pythia-1.4b", 2.0))
        for curve in ("Full", "Held-out T1")
        for criterion in ("area", "half")
    ]
    table = pl.DataFrame(sized, schema=SCHEMA)
    above, below = scaling.draw(table)["scaling"].axes
    (line,) = [line for line in above.lines if line.get_label() == "Held-out T1"]
    assert np.asarray(line.get_ydata()).tolist() == [1.0, 2.0]
    assert [label.get_text() for label in below.get_xticklabels()] == ["70M", "1.4B"]
    (crosses,) = [
        line for line in above.lines if line.get_label() == "grid_limited" and len(np.asarray(line.get_xdata()))
    ]
    assert np.asarray(crosses.get_ydata()).tolist() == [2.0]
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
