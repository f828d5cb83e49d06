"""Pairs of curves whose leads are of interest, and a curve as it is compared: by template, on all and half grids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.component_choice import B1, CALIB, COMP_RW, FULL
from analysis.statistics.criteria import prompt_margins
from analysis.statistics.curves import Curve
from analysis.statistics.lead import EVERY_SECOND, THE_OTHERS, Side, side
from analysis.statistics.mean_curve import mean_curve
from analysis.statistics.onset import isotonic_onset, log2_steps


@dataclass(frozen=True)
class Pair:
    """Two curves, and that the lead is the one of `curve` over `over`."""

    curve: Curve
    over: Curve

    @property
    def is_over_own_full(self) -> bool:
        """Whether the other is Full in the curve's own form, raw or centred."""
        return self.over.name == FULL and self.over.centred == self.curve.centred


@dataclass(frozen=True)
class ComparedCurve:
    """A curve as leads need it.

    Attributes:
        curve: the curve.
        sides: template -> its mean, all prompts first; without templates in which it has no values.
        halves: template -> the same at every second checkpoint, and at the others; none of a single checkpoint.
        prompt_onsets: criterion -> (prompt,) log2 of the step at which each prompt's own curve emerges.
    """

    curve: Curve
    sides: dict[str, Side]
    halves: dict[str, tuple[Side, ...]]
    prompt_onsets: dict[str, np.ndarray]


def pairs_of(curve: Curve, curves: Sequence[Curve]) -> list[Pair]:
    """The pairs that a curve is part of, each pair with one of its two curves.

    Every curve but B1 is compared with Full in its own form, and a raw one also with centred Full, which needs no
    label. COMP RW is compared with Calib+, which is fitted to the same labels; centred Full with raw Full, and with raw
    COMP RW and Calib+, which need labels.
    """
    raw, centred = (
        next((one for one in curves if one.name == FULL and one.centred is form), None) for form in (False, True)
    )
    if curve.name in (FULL, B1):
        return [Pair(curve, raw)] if curve is centred and raw is not None else []
    own = centred if curve.centred else raw
    pairs = [Pair(curve, own)] if own is not None else []
    if not curve.centred and centred is not None:
        pairs.append(Pair(curve, centred))
        if curve.name in (COMP_RW, CALIB):
            pairs.append(Pair(centred, curve))
    if curve.name == COMP_RW:
        same_labels = (CALIB, curve.variant, curve.n_labelled)
        pairs += [Pair(curve, one) for one in curves if (one.name, one.variant, one.n_labelled) == same_labels]
    return pairs


def compared_curve(curve: Curve, steps: Sequence[int], templates: Mapping[str, tuple[int, ...]]) -> ComparedCurve:
    """A curve with its sides.

    Args:
        templates: name -> its prompts, all prompts first.
    """
    has_values = ~np.isnan(curve.values[0])
    sides = {
        name: side(_in_words(curve), mean_curve(curve, steps, prompts))
        for name, prompts in templates.items()
        if has_values[list(prompts)].any()
    }
    halves = {
        name: tuple(one.at(some) for some in (EVERY_SECOND, THE_OTHERS))
        for name, one in sides.items()
        if len(steps) > 1
    }
    axis, margins = log2_steps(steps), prompt_margins(curve)
    onsets = {criterion: isotonic_onset(axis, of_prompts).log2 for criterion, of_prompts in margins.items()}
    return ComparedCurve(curve, sides, halves, onsets)


def _in_words(curve: Curve) -> str:
    return f"{curve.name} less its label bias" if curve.centred else curve.name
