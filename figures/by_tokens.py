"""Models of several suites against training tokens: does the same emerge at the same tokens?"""

from collections.abc import Callable

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, panel_title, short_model
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import MODELS
from figures.training_axis import largest_fit, plot_chance

PANEL = ["dtype", "control", "task", "n_shots"]
MEASURES = (("Full", False), ("Full", True), ("Held-out T1", False))
_NAMES = {("Full", False): "Full", ("Full", True): "Full less its bias", ("Held-out T1", False): "Held-out T1"}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per task and shots, a row per curve, a line per model: accuracy over tokens.

    More models than there are looks continue in another column.
    """
    columns = [
        panel.filter(pl.col("model").is_in(list(models)))
        for panel in table.partition_by(PANEL, maintain_order=True)
        for models in _in_groups(sorted(panel["model"].unique()), len(MODELS))
    ]
    return column_pages(
        "by_tokens",
        columns,
        [(_NAMES[curve], _row(*curve)) for curve in MEASURES],
        lambda panel: panel_title({**panel.row(0, named=True), "model": ""}, name_model=False),
        legend={short_model(model): short_model(model) for model in sorted(table["model"].unique())},
        x_label="training tokens (log scale); shaded: 95 % intervals",
    )


def _in_groups(models: list[str], n: int) -> list[list[str]]:
    return [models[i : i + n] for i in range(0, len(models), n)]


def _row(curve: str, centred: bool) -> Callable[[Axes, pl.DataFrame], None]:
    def draw_row(axes: Axes, panel: pl.DataFrame) -> None:
        shown = panel.filter(pl.col("curve") == curve, pl.col("centred") == centred)
        for look, model in zip(MODELS, sorted(panel["model"].unique()), strict=False):
            rows = largest_fit(shown.filter(model=model)).sort("tokens_seen")
            x = np.log10(rows["tokens_seen"].cast(pl.Float64).to_numpy())
            axes.plot(x, rows["mean"].cast(pl.Float64).to_numpy(), label=short_model(model), **look)
            band = rows.drop_nulls(["low", "high"])
            x = np.log10(band["tokens_seen"].cast(pl.Float64).to_numpy())
            axes.fill_between(x, band["low"].to_numpy(), band["high"].to_numpy(), color=look["color"], alpha=0.15, lw=0)
        plot_chance(axes, panel["chance"][0])
        axes.set_ylim(-0.02, 1.02)
        seen = np.log10(panel["tokens_seen"].cast(pl.Float64).to_numpy())
        ticks = range(int(np.ceil(seen.min())), int(np.floor(seen.max())) + 1)
        axes.set_xticks(list(ticks), [_tokens(10**tick) for tick in ticks])
        axes.set_xlim(seen.min() - 0.1, seen.max() + 0.1)

    return draw_row


def _tokens(n: int) -> str:
    """`2k`, `2M`, `10B`, `1T`."""
    units = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (1000, "k"), (1, ""))
    unit, name = next((unit, name) for unit, name in units if n >= unit)
    return f"{n / unit:.3g}{name}"


def caption(table: pl.DataFrame) -> str:
    """Each model's last accuracy and the tokens that it had seen."""
    ends = []
    for panel in table.filter(pl.col("curve") == "Full", ~pl.col("centred")).partition_by(PANEL, maintain_order=True):
        last = panel.sort("tokens_seen").unique("model", keep="last", maintain_order=True).sort("model")
        values = ", ".join(
            f"{short_model(row['model'])} {format_number(row['mean'])} at {_tokens(row['tokens_seen'])}"
            for row in last.iter_rows(named=True)
        )
        ends.append(f"{panel_title({**panel.row(0, named=True), 'model': ''}, name_model=False)}: {values}")
    return (
        "Accuracy over training tokens, since steps of suites with other batches mean different things. Models "
        "differ in more than tokens: size, data, schedule and vocabulary. The full model in the end: "
        f"{join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="by_tokens",
    question="Does the same emerge at the same number of training tokens in models of several suites?",
    draw=draw,
    caption=caption,
    missing="No two models with known training tokens here: sweep jobs/plans/tokens-across-suites.toml.",
)
