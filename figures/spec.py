"""Specification of a figure: the analysis it draws, its pictures and its caption."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure


@dataclass(frozen=True)
class FigureSpec:
    """A figure as it is registered: the analysis it draws, and how its table becomes pictures and a caption.

    Attributes:
        analysis: name of the analysis.
        question: the question that the figure answers, in one line; its heading in the report.
        draw: table -> picture name -> figure; empty where the table holds nothing to draw.
        caption: table -> a description of the pictures, with the numbers that matter.
        missing: what the results lack, and what to sweep, where there is nothing to draw; a function of the table
            where that can have several reasons.
        only_by_name: whether it takes so long that it is drawn only when it is named.
    """

    analysis: str
    question: str
    draw: Callable[[pl.DataFrame], dict[str, Figure]]
    caption: Callable[[pl.DataFrame], str]
    missing: str | Callable[[pl.DataFrame], str] = "These results hold nothing for this figure."
    only_by_name: bool = False
