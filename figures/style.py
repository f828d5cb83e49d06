"""Style: each curve has one colour, marker and dash in all figures; readable in grey and at one column."""

from typing import Any

Look = dict[str, Any]
"""Keyword arguments of `Axes.plot`."""

CURVES: dict[str, Look] = {
    "T1": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "Last-T1": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "Full": {"color": "#0072B2", "marker": "D", "linestyle": "-"},
    "B1": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
    "COMP RW": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "Calib+": {"color": "#E69F00", "marker": "o", "linestyle": "-", "markerfacecolor": "white"},
    "First-T1": {"color": "#8A3B00", "marker": "h", "linestyle": (0, (1, 1.2))},
    "Held-out T1": {"color": "#56B4E9", "marker": "X", "linestyle": "-"},
    "Cross-seed T1": {"color": "#000000", "marker": "X", "linestyle": (0, (5, 1.2, 1, 1.2))},
    "Labelled T1": {"color": "#56B4E9", "marker": "d", "linestyle": (0, (4, 1.5))},
    "top-5": {"color": "#8A3B00", "marker": "p", "linestyle": (0, (4, 1.5))},
    "Transfer-1": {"color": "#000000", "marker": "*", "linestyle": (0, (4, 1.5))},
    "Full, centred": {"color": "#0072B2", "marker": "D", "linestyle": (0, (4, 1.5)), "markerfacecolor": "white"},
    "Batch calibration": {"color": "#0072B2", "marker": "s", "linestyle": (0, (1, 1.2)), "markerfacecolor": "white"},
    "Contextual calibration": {"color": "#CC79A7", "marker": "v", "linestyle": (0, (1, 1.2))},
    "Domain-context calibration": {"color": "#CC79A7", "marker": "^", "linestyle": (0, (4, 1.5))},
}
VARIANT_LOOKS: dict[str, Look] = {
    "default": {},
    "paper": {"linestyle": (0, (3, 1.5)), "markerfacecolor": "white"},
    "official_code": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
    "train_rows_outside": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
    "split_half": {"linestyle": (0, (5, 1.2, 1, 1.2)), "markersize": 1.8},
}
"""How a variant differs from its method's own look; one that a plan defines looks like `default`."""
"""Okabe-Ito colours, which colour-blind readers can tell apart; markers and dashes for print without colour."""

MODELS: tuple[Look, ...] = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "-"},
    {"color": "#009E73", "marker": "^", "linestyle": "-"},
    {"color": "#CC79A7", "marker": "D", "linestyle": (0, (4, 1.5))},
    {"color": "#E69F00", "marker": "v", "linestyle": (0, (4, 1.5))},
    {"color": "#56B4E9", "marker": "X", "linestyle": (0, (1, 1.2))},
    {"color": "#000000", "marker": "p", "linestyle": (0, (1, 1.2))},
)
"""Models that are compared in one panel, in their order."""

FAINT = 0.4
"""Opacity of T1 and B1, which are chosen on the test rows that they are scored on: optimistic bounds."""

KINDS: dict[str, Look] = {
    "good": {"color": "#D55E00", "marker": "^", "linestyle": "-"},
    "bad": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
    "label_biased": {"color": "#000000", "marker": "s", "linestyle": "-"},
    "nearly_label_biased": {"color": "#000000", "marker": "s", "linestyle": (0, (2, 1.5)), "markerfacecolor": "white"},
}
"""Kinds of components: good ones in the colour of the best component, bad ones in that of the worst."""

CLASSES: dict[str, Look] = {
    "label-biased": {"facecolor": "#000000", "edgecolor": "white"},
    "anti-copying": {"facecolor": "#D55E00", "edgecolor": "white"},
    "wrong-label attention": {"facecolor": "#E69F00", "edgecolor": "white"},
    "opposed": {"facecolor": "#0072B2", "edgecolor": "white"},
    "unexplained": {"facecolor": "#BBBBBB", "edgecolor": "white"},
    "cannot be told": {"facecolor": "#FFFFFF", "edgecolor": "#777777", "hatch": "//////", "linewidth": 0.4},
}
"""Why a component is below chance: areas, not curves."""

PREDICTORS: dict[str, Look] = {
    "all": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "all mechanisms": {"color": "#D55E00", "marker": "^", "linestyle": "-"},
    "all answers": {"color": "#0072B2", "marker": "s", "linestyle": (0, (4, 1.5))},
}
"""What a head's value at the last step is predicted from."""

AGAINST: dict[str, Look] = {
    "final": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "previous": {"color": "#E69F00", "marker": "^", "linestyle": (0, (4, 1.5))},
}
"""The other checkpoint that a checkpoint is compared with."""

SOURCES: dict[str, Look] = {
    "template": {"color": "#CC79A7", "marker": "s", "linestyle": "-"},
    "demonstrations": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "rest": {"color": "#E69F00", "marker": "^", "linestyle": (0, (4, 1.5))},
    "test_rows": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
}
"""Sources of the variance of accuracy between prompts."""

PAIRS: dict[str, Look] = {
    "demonstrations": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "templates": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "contrast": {"color": "#009E73", "marker": "^", "linestyle": (0, (1, 1.2))},
}
"""What two prompts differ in."""

FLAGS: dict[str, Look] = {
    "duplicate": {"color": "#000000", "marker": "o", "markersize": 4.2, "markerfacecolor": "white"},
    "quarantined": {"color": "#000000", "marker": "x", "markersize": 4.6},
}
"""Flags of checkpoints, which count as missing: marks on the x axis."""
FLAG_NAMES = {
    "flag duplicate": "left out: same weights as another step",
    "flag quarantined": "left out: known or seen to be wrong",
}

PANEL = ["model", "dtype", "control", "task", "n_shots"]
"""The columns that one panel is drawn for."""

NULL_COLOUR = "#BBBBBB"
ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0
"""Widths in inches."""


def faint(look: Look) -> Look:
    """The look of a curve that is an optimistic bound."""
    return {**look, "alpha": FAINT, "linewidth": 0.9}


def rc_params() -> dict[Any, Any]:
    """Settings for `matplotlib.rc_context`; with them the same input gives the same bytes of SVG."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "figure.labelsize": 8,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 3.4,
        "figure.dpi": 100,
        "savefig.dpi": 220,
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "figures",
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
