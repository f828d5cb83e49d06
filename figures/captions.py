"""Words of captions and titles: numbers, lists, names of panels, sentences on what a table lacks."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from figures.style import PANEL
from figures.training_axis import flagged_and_missing, format_step

SEEDS_PANEL = ["model", "varies", *PANEL[1:]]
"""The columns that one panel is drawn for where trainings with other seeds are compared."""


def format_number(value: float | None, places: int = 2) -> str:
    """`.97`, `1.00`, `−.03`; `?` for null."""
    if value is None:
        return "?"
    text = f"{abs(value):.{places}f}"
    text = text.removeprefix("0") if abs(value) < 1 else text
    return f"−{text}" if value < 0 and float(text or 0) else text


def count_prompts(panel: pl.DataFrame) -> str:
    """`1 prompt`, `15 prompts`."""
    n = panel["n_prompts"][0]
    return f"{n} prompt{'s' if n != 1 else ''}"


def join_panels(sentences: Sequence[str], max_shown: int = 8) -> str:
    """`sst2: ...; boolq: ...`; after `max_shown`, how many more."""
    rest = [f"and {len(sentences) - max_shown} more panels"] if len(sentences) > max_shown else []
    return "; ".join([*sentences[:max_shown], *rest])


def join_words(words: Sequence[str], max_shown: int = 8) -> str:
    """`a, b and c`; after `max_shown`, how many more."""
    if len(words) > max_shown:
        words = [*words[: max_shown - 1], f"{len(words) - max_shown + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def at_last_step(table: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each panel's last step."""
    panels = table.partition_by(PANEL, maintain_order=True)
    return [panel.filter(step=panel["step"].max()) for panel in panels]


def has_several_models(table: pl.DataFrame) -> bool:
    """Whether titles must name the model."""
    return table["model"].n_unique() > 1


def short_model(model: str) -> str:
    """A model id without its owner: `EleutherAI/pythia-70m` is `pythia-70m`."""
    return model.rsplit("/", 1)[-1]


def panel_title(row: Mapping[str, Any], *, name_model: bool) -> str:
    """`pythia-70m: sst2, 4-shot, shuffled labels`: task and shots, and what else sets a panel apart."""
    model = f"{short_model(row['model'])}: " if name_model else ""
    control = "" if row["control"] == "none" else f", {row['control'].replace('_', ' ')}"
    return f"{model}{row['task']}, {row['n_shots']}-shot{control}"


def panel_name(panel: pl.DataFrame, table: pl.DataFrame) -> str:
    """The name of a panel of a table: `sst2, 4-shot`, with the model where the table has several."""
    return panel_title(panel.row(0, named=True), name_model=has_several_models(table))


def seeds_name(panel: pl.DataFrame) -> str:
    """The name of a panel that compares trainings: `pythia-160m: sst2, 4-shot (10 seeds)`."""
    row = panel.row(0, named=True)
    return f"{panel_title(row, name_model=True)} ({panel['n_seeds'].max()} {row['varies']}s)"


def fit_name(curve: str, variant: str, n_labelled: int) -> str:
    """`COMP RW, default, K = 24`; the name alone for a curve without a fit."""
    parts = [curve, variant.replace("_", " ").replace("/", ", "), f"K = {n_labelled}" if n_labelled else ""]
    return ", ".join(filter(None, parts))


def missing_checkpoints(table: pl.DataFrame) -> str:
    """A sentence on the checkpoints that a table lacks since they are flagged; empty where there are none."""
    if not {"flagged", "model", "step"} <= set(table.columns):
        return ""
    models: dict[str, list[str]] = {}
    for (model,), rows in sorted(table.partition_by("model", as_dict=True).items()):
        missing = flagged_and_missing(rows)
        if missing:
            steps = [f"{format_step(step)} ({flags.replace('+', ', ')})" for step, flags in missing.items()]
            models.setdefault(join_words(steps), []).append(short_model(str(model)))
    parts = [f"of {join_words(names)} step{'s' if ' and ' in steps else ''} {steps}" for steps, names in models.items()]
    return f" Left out, and marked: {'; '.join(parts)}." if parts else ""
