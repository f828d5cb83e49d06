"""Scores of every head by one measure, as the table `mechanisms` stores them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeadScores:
    """One measure of every head of a checkpoint.

    Attributes:
        measure: its name.
        values: (layer, head) means; NaN where a head has none.
        sd: (layer, head) standard deviations over prompts; None where the measure is of weights or of all positions, or
            there is one prompt.
        n: prompts, sequences or tokens that the means are over.
        chance: what attention that is spread evenly would give; None where there is no such value.
    """

    measure: str
    values: np.ndarray
    sd: np.ndarray | None
    n: int
    chance: float | None = None
