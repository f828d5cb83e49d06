"""Words for captions: numbers, steps and lists of what a table says."""

from collections.abc import Sequence

import polars as pl

from figures import style


def number(value: float | None, places: int = 2) -> str:
    """`.97`, `1.00`, `−.03`; `?` for null."""
    if value is None:
        return "?"
    text = f"{abs(value):.{places}f}"
    text = text.removeprefix("0") if abs(value) < 1 else text
    return f"−{text}" if value < 0 and float(text or 0) else text


def p(value: float | None) -> str:
    """`p = .062`, `p < .001`."""
    return "p < .001" if value is not None and value < 0.001 else f"p = {number(value, 3)}"


def prompts(n: int) -> str:
    """`1 prompt`, `15 prompts`."""
    return f"{n} prompt{'s' if n != 1 else ''}"


def by_panel(sentences: Sequence[str], most: int = 8) -> str:
    """`sst2: ...; boolq: ...`; after `most`, how many more."""
    rest = [f"and {len(sentences) - most} more panels"] if len(sentences) > most else []
    return "; ".join([*sentences[:most], *rest])


def listing(words: Sequence[str], most: int = 8) -> str:
    """`a, b and c`; after `most`, how many more."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def at_last_step(table: pl.DataFrame) -> list[pl.DataFrame]:
    """Of every panel, the rows of its last step."""
    panels = table.partition_by(style.PANEL, maintain_order=True)
    return [panel.filter(step=panel["step"].max()) for panel in panels]


def name(panel: pl.DataFrame, table: pl.DataFrame) -> str:
    """What a panel of a table is called: `sst2, 4-shot`, with the model where the table has several."""
    return style.panel_title(panel.row(0, named=True), several_models=table["model"].n_unique() > 1)


def flags(table: pl.DataFrame) -> str:
    """A sentence on the checkpoints that a table lacks since they are flagged; empty where there are none."""
    if not {"flagged", "model", "step"} <= set(table.columns):
        return ""
    models: dict[str, list[str]] = {}
    for (model,), rows in sorted(table.partition_by("model", as_dict=True).items()):
        absent = style.left_out(rows)
        if absent:
            steps = [f"{style.format_step(step)} ({why.replace('+', ', ')})" for step, why in absent.items()]
            models.setdefault(listing(steps), []).append(style.short(str(model)))
    said = [f"of {listing(mine)} step{'s' if ' and ' in steps else ''} {steps}" for steps, mine in models.items()]
    return f" Left out, and marked: {'; '.join(said)}." if said else ""
