"""Does a component have a counterpart in a training run with another seed?"""

from collections.abc import Mapping
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import SEEDS_PANEL, format_number, join_panels, seeds_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import Look
from figures.training_axis import plot_chance, plot_curve, set_training_axis

KAPPAS: dict[str, Look] = {
    "kappa_matched": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "kappa_same_place": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "kappa_any": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
}
ACCURACIES: dict[str, Look] = {
    "best": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "counterpart": KAPPAS["kappa_matched"],
    "same_place": KAPPAS["kappa_same_place"],
}
_LEGEND = {
    "best": "the best component of one seed",
    "kappa_matched": "matched by their answers",
    "kappa_same_place": "the same layer and head",
    "kappa_any": "any two components",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel: agreement (kappa) of paired components above; accuracy of the best and its pair below."""
    return column_pages(
        "seed_matching",
        table.partition_by(SEEDS_PANEL, maintain_order=True),
        [
            ("agreement (kappa)", partial(_panel, looks=KAPPAS)),
            ("test accuracy", partial(_panel, looks=ACCURACIES, with_chance=True)),
        ],
        seeds_name,
        legend=_LEGEND,
        title_size=7.5,
    )


def _panel(axes: Axes, panel: pl.DataFrame, *, looks: Mapping[str, Look], with_chance: bool = False) -> None:
    for measure, look in looks.items():
        plot_curve(axes, panel, look, measure, y=measure, sd=f"{measure}_sd")
    if with_chance:
        plot_chance(axes, panel["chance"][0])
    set_training_axis(axes, panel)
    axes.set_ylim(-0.12, 1.02)


def caption(table: pl.DataFrame) -> str:
    """At the last step: the best component, its counterpart, and the component at its place."""
    ends = []
    for panel in table.partition_by(SEEDS_PANEL, maintain_order=True):
        row = panel.sort("step").row(-1, named=True)
        best, counterpart, place = (format_number(row[name]) for name in ("best", "counterpart", "same_place"))
        ends.append(f"{seeds_name(panel)}: {best}, {counterpart} and {place}")
    return (
        "Components of two trainings are matched one to one by their answers on half of the test rows; all that is "
        "drawn is from the other half; means over pairs of seeds, shaded ±1 SD. Accuracy at the last step of a "
        "training's best component, of its counterpart in another, and of the component at the same place: "
        f"{join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="seed_matching",
    question="Does a component have a counterpart under another seed, and is it at the same place?",
    draw=draw,
    caption=caption,
    missing="No model here has a second seed: sweep jobs/plans/polypythias-160m.toml.",
)
