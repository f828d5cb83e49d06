"""Layout: every word of a picture is on the canvas, and no title runs into another."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

import analysis
from figures.drawing import FIGURES, why_missing, without_controls
from figures.style import PANEL, rc_params
from tests.stores import add_unit, answering, new_store

ROUNDING = 1.5
"""Pixels that extents of text may be off by."""
GOLD = np.arange(60) % 2
FITS = [("comp_rw", "default"), ("calib_plus", "official_code"), ("heldout_t1", "train_rows")]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of Pythia-6.9B with long names of tasks, several shots, all methods, and a step that is left out."""
    store = new_store(tmp_path_factory.mktemp("crowded") / "out")
    tasks = [("sst2", "paper"), ("sst2", "contrast"), ("yelp", "paper"), ("a_task_of_ones_own", "paper")]
    partners = {"contrast": {"contrasts_with": "paper"}, "yelp": {"demonstrations_of": "sst2"}}
    cells = product(
        ("EleutherAI/pythia-6.9b", "EleutherAI/pythia-6.9b-seed1"), (0, 1, 512, 4000, 143_000), tasks, (0, 1)
    )
    for model, step, (task, template), seed in cells:
        best = 0.5 + step / 400_000
        fit = {"accuracy": best, "predictions": answering([best], GOLD, seed)[:, 0].tolist()}
        methods = [{"method": m, "variant": v, "n_labelled": k, **fit} for m, v in FITS for k in (12, 24)]
        keys = {"model": model, "step": step, "task": task, "template": template, "demo_seed": seed}
        keys |= partners.get(template, partners.get(task, {}))
        add_unit(
            store,
            answering([best, 0.4] + [0.5] * 8, GOLD, seed),
            GOLD,
            scores=methods,
            weights=[("default", 24, [1.0] * 10)],
            flags=["quarantined"] if step == 4000 else (),
            **keys,
        )
    return store.root


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model and one task, from step 1 on, all components at chance, and weights that no fit changed."""
    store = new_store(tmp_path_factory.mktemp("lone") / "out")
    for step, seed in product((1, 8, 64, 512), range(5)):
        fit = {"accuracy": 0.5, "predictions": answering([0.5], GOLD, seed)[:, 0].tolist()}
        methods = [{"method": m, "variant": v, "n_labelled": k, **fit} for m, v in FITS for k in (12, 24)]
        add_unit(
            store,
            answering([0.5] * 10, GOLD, seed),
            GOLD,
            scores=methods,
            weights=[("default", 24, [1.0] * 10)],
            step=step,
            demo_seed=seed,
        )
    return store.root


@pytest.mark.parametrize("swept", ["results", "crowded", "lone"])
@pytest.mark.parametrize("name", FIGURES)
def test_all_words_are_on_the_canvas_and_titles_apart(name: str, swept: str, request: pytest.FixtureRequest) -> None:
    spec = FIGURES[name]
    table = without_controls(analysis.run(spec.analysis, request.getfixturevalue(swept)))
    one_model = table.filter(pl.col("model") == pl.col("model").first()) if "model" in table.columns else table
    panel = [name for name in PANEL if name in table.columns]
    one_panel = table.filter(pl.struct(panel) == pl.struct(panel).first()) if panel and len(table) else table
    with rc_context(rc_params()):
        pictures = [item for rows in (table, one_model, one_panel) if len(rows) for item in spec.draw(rows).items()]
        for picture, figure in pictures:
            figure.draw_without_rendering()
            for text in words(figure):
                box = text.get_window_extent()
                low, high = min(box.x0, box.y0), max(box.x1 - figure.bbox.x1, box.y1 - figure.bbox.y1)
                assert max(-low, high) < ROUNDING, f"{picture}: {text.get_text()!r} is cut off"
            for one, other in combinations(titles(figure), 2):
                apart = not one.get_window_extent().overlaps(other.get_window_extent())
                assert apart, f"{picture}: {one.get_text()!r} runs into {other.get_text()!r}"
            for legend, text in product(figure.legends, labels(figure)):
                apart = not legend.get_window_extent().overlaps(text.get_window_extent())
                assert apart, f"{picture}: the legend covers {text.get_text()!r}"


def words(figure: Figure) -> list[Text]:
    """Texts of a figure but its tick labels, which are placed with the ticks."""
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    every = figure.findobj(Text)
    return [text for text in every if text not in ticks and text.get_visible() and text.get_text().strip()]


def labels(figure: Figure) -> list[Text]:
    """Labels of axes and of the figure, and titles."""
    of_axes = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
    of_figure = {figure.get_supxlabel(), figure.get_supylabel()}
    shown = words(figure)
    return [
        *titles(figure),
        *(text for text in shown if text in of_axes),
        *(text for text in figure.texts if text in shown and text.get_text() in of_figure),
    ]


def titles(figure: Figure) -> list[Text]:
    """Titles of panels."""
    texts = {axes.get_title(loc="left") for axes in figure.axes}
    return [text for text in words(figure) if text.get_text() in texts]


def test_at_chance_it_says_that_nothing_emerges_and_that_no_weight_changed(lone: Path) -> None:
    tables = {name: analysis.run(FIGURES[name].analysis, lone) for name in ("leads", "grid_thinning", "weights")}
    for name in ("leads", "grid_thinning"):
        assert not FIGURES[name].draw(tables[name])
    assert "one step" not in why_missing(FIGURES["leads"], tables["leads"])
    assert "No curve here has a t50" in why_missing(FIGURES["grid_thinning"], tables["grid_thinning"])
    assert "all 10 weights alike" in FIGURES["weights"].caption(tables["weights"])


def test_step_zero_is_named_only_where_it_is(lone: Path, results: Path) -> None:
    for root, named in ((lone, False), (results, True)):
        figure = FIGURES["survival"].draw(analysis.run("survival", root))["survival"]
        assert ("step 0" in figure.get_supxlabel()) == named
