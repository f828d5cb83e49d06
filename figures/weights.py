"""What does COMP RW use, and since when? Its weights over training."""

from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import at_last_step, fit_name, format_number, join_panels, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import PANEL, VARIANT_LOOKS, Look
from figures.training_axis import plot_chance, plot_curve, set_training_axis

MEASURES = {"zero": "share of weights at 0", "change_cosine": "cosine to the final weights"}
K_LOOKS: list[Look] = [
    {"color": "#009E73", "marker": "^", "linestyle": "-"},
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#CC79A7", "marker": "s", "linestyle": "-"},
]


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel: sparsity above, similarity to the final weights below, a curve per variant and K."""
    all_k = table["n_labelled"].unique().sort().to_list()
    labels = sorted(fit_name("COMP RW", *fit) for fit in table.select("variant", "n_labelled").unique().rows())
    return column_pages(
        "weights",
        table.partition_by(PANEL, maintain_order=True),
        [(label, partial(_panel, measure=measure, all_k=all_k)) for measure, label in MEASURES.items()],
        lambda panel: panel_name(panel, table),
        legend={label: label for label in labels},
        legend_columns=3,
    )


def _panel(axes: Axes, panel: pl.DataFrame, *, measure: str, all_k: list[int]) -> None:
    by_fit = panel.partition_by("variant", "n_labelled", as_dict=True)
    for (variant, k), rows in sorted(by_fit.items()):
        look = {**K_LOOKS[all_k.index(k) % len(K_LOOKS)], "linewidth": 1.1, "markersize": 2.8}
        look |= VARIANT_LOOKS.get(str(variant), {})
        sd = f"{measure}_sd" if len(by_fit) == 1 else None
        rows = rows.filter(pl.col("step") != pl.col("final_step")) if measure == "change_cosine" else rows
        plot_curve(axes, rows, look, fit_name("COMP RW", str(variant), k), y=measure, sd=sd, limits=(-1, 1))
    plot_chance(axes, 0)
    set_training_axis(axes, panel)
    axes.set_ylim((-0.03, 1.03) if measure == "zero" else (-0.53, 1.03))


def caption(table: pl.DataFrame) -> str:
    """Sparsity and share on heads at the last step."""
    ends = []
    for last in at_last_step(table):
        row = last.sort("variant", "n_labelled").row(0, named=True)
        if last["n_effective"].min() >= (1 - 1e-9) * row["n_components"]:
            ends.append(f"{panel_name(last, table)}: all {row['n_components']} weights alike: the fit prefers none")
            continue
        ends.append(
            f"{panel_name(last, table)}: {format_number(row['zero'])} of {row['n_components']} weights at 0, "
            f"{format_number(row['on_heads'])} of their size on heads ({row['variant']}, K = {row['n_labelled']})"
        )
    return (
        "Weights of COMP RW for every component. Above: the share that is 0. Below: cosine between the change of a fit "
        "(w − 1; all weights start at 1) and the change at the last step; means over prompts. At the last step: "
        f"{join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="weights",
    question="Which components does reweighting use, and since when?",
    draw=draw,
    caption=caption,
    missing="No weights were fitted: give the plan a [fits] table.",
)
