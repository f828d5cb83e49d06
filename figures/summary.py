"""What the page says first: per task, whether and when the full model, heads and MLPs get above chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from figures.captions import format_number, has_several_models, join_words, panel_title
from figures.component_onsets import CRITERION
from figures.style import PANEL

MAX_SHOWN = 4
"""Sentences that are seen at once, so that the explorer stays near; the others unfold."""
TO_TRY = "What to try: later checkpoints, other label words, more test rows."


@dataclass(frozen=True)
class Sentence:
    """What holds for one task; `noise` where no curve and no component gets above chance for good."""

    task: str
    words: str
    noise: bool


def summary(tables: Mapping[str, pl.DataFrame]) -> list[Sentence]:
    """One sentence per model, task and number of shots, from numbers that the tables hold.

    Args:
        tables: those of the figures `emergence`, `onsets` and `component_onsets`, without controls; one that is left
            out, or has no rows, is not spoken of.

    Returns:
        In the order of `emergence`; empty without it.
    """
    curves = tables.get("emergence", pl.DataFrame())
    if curves.is_empty():
        return []
    full = curves.filter(pl.col("mean").is_not_null(), curve="Full")
    several = has_several_models(full)
    sentences = []
    for panel in full.partition_by(PANEL, maintain_order=True):
        key = panel.select(PANEL).row(0, named=True)
        onsets, components = (_of(tables.get(name), key) for name in ("onsets", "component_onsets"))
        title = panel_title(key, name_model=several)
        sentences.append(_sentence(title, panel.filter(step=panel["step"].max()), onsets, components))
    return sentences


def _of(table: pl.DataFrame | None, key: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of one panel that say when a curve or component is above what labels without meaning give."""
    if table is None or table.is_empty():
        return pl.DataFrame(schema={"emerges": pl.Boolean, "step": pl.Int64, "curve": pl.String})
    criterion = CRITERION if "component" in table.columns else "null"
    return table.filter(pl.col("criterion") == criterion, *(pl.col(name) == value for name, value in key.items()))


def _sentence(task: str, last: pl.DataFrame, onsets: pl.DataFrame, components: pl.DataFrame) -> Sentence:
    step, end = last["step"][0], _accuracy(last)
    full, n = onsets.filter(curve="Full"), len(components)
    if onsets.is_empty() or components.is_empty():
        return Sentence(task, f"too few checkpoints to say when anything gets above chance; {end}.", False)
    others = onsets.filter(pl.col("emerges"), pl.col("curve") != "Full")["curve"].unique().sort().to_list()
    if not full["emerges"].any() and not components["emerges"].any():
        words = f"neither the full model nor any of {n:,} heads and MLPs gets above chance for good up to step {step:,}"
        more = f"; {join_words(others)} {'do' if len(others) > 1 else 'does'}" if others else ""
        noise = "" if others else " What the sections below say of such a task describes noise."
        return Sentence(task, f"{words}{more}; {end}.{noise}", not others)
    found = components.filter("emerges")
    parts = f"none of {n:,} heads and MLPs does"
    if len(found):
        parts = f"{len(found):,} of {n:,} heads and MLPs do{_since(found, ', the first ')}"
    return Sentence(task, f"{_full(full)}; {parts}; {end}.", False)


def _full(full: pl.DataFrame) -> str:
    """`the full model gets above chance for good from step 48 (less label bias from step 16)`."""
    raw, centred = (full.filter("emerges", pl.col("centred") == bias_off) for bias_off in (False, True))
    if raw.is_empty():
        return "the full model does not get above chance for good" + (
            f" as it is, but less label bias it does{_since(centred, ' ')}" if len(centred) else ""
        )
    words = f"the full model gets above chance for good{_since(raw, ' ')}"
    if centred.is_empty() and full["centred"].any():
        return f"{words} (not less label bias)"
    if len(centred) and centred["step"][0] != raw["step"][0]:
        return f"{words} (less label bias{_since(centred, ' ')})"
    return words


def _since(emerged: pl.DataFrame, before: str) -> str:
    """From which step on; null steps were above at the first checkpoint already."""
    if emerged["step"].null_count():
        return f"{before.rstrip()} at the first checkpoint already"
    return f"{before}from step {emerged['step'].min():,}"


def _accuracy(last: pl.DataFrame) -> str:
    """`at step 1,024 the full model's accuracy is .97, less label bias .97 (chance .50)`."""
    values = {row["centred"]: row["mean"] for row in last.iter_rows(named=True)}
    parts = [f"{format_number(values.get(False))} as it is"]
    if True in values:
        parts.append(f"{format_number(values[True])} less label bias")
    chance = format_number(last["chance"][0])
    return f"at step {last['step'][0]:,} the full model's accuracy is {' and '.join(parts)} (chance {chance})"


def to_try(sentences: Sequence[Sentence]) -> str:
    """What may help where a task is noise; empty where none is."""
    return TO_TRY if any(sentence.noise for sentence in sentences) else ""
