"""What the page says first is what its tables hold: who gets above chance, from when, and where nothing does."""

from typing import Any

import polars as pl

from figures.summary import summary, to_try

PANEL = {"model": "m", "dtype": "float32", "control": "none", "task": "sst2", "n_shots": 4}


def tables(full: dict[str, Any], centred: dict[str, Any], components: list[int | None], **other: bool) -> Any:
    """The three tables of one task, with two checkpoints; components by onset, None for one without."""
    curves = [
        {**PANEL, "curve": "Full", "step": step, "centred": bias_off, "mean": mean, "chance": 0.5}
        for step in (0, 1024)
        for bias_off, mean in ((False, 0.5 + step / 4096), (True, 0.5 + step / 2048))
    ]
    onsets = [
        {**PANEL, "criterion": "null", "curve": "Full", "centred": bias_off, **onset}
        for bias_off, onset in ((False, full), (True, centred))
    ]
    onsets += [
        {**PANEL, "criterion": "null", "curve": curve, "centred": False, "emerges": emerges, "step": None}
        for curve, emerges in other.items()
    ]
    heads = [
        {**PANEL, "criterion": "null of any component", "component": f"L0H{i}", "emerges": s is not None, "step": s}
        for i, s in enumerate(components)
    ]
    frames = {"emergence": curves, "onsets": onsets, "component_onsets": heads}
    return {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in frames.items()}


def onset(step: int | None, *, emerges: bool = True) -> dict[str, Any]:
    return {"emerges": emerges, "step": step}


NEVER = onset(None, emerges=False)
END = "at step 1,024 the full model's accuracy is .75 as it is and 1.00 less label bias (chance .50)"


def words(*arguments: Any, **other: bool) -> str:
    (said,) = summary(tables(*arguments, **other))
    assert said.task == "sst2, 4-shot"
    return said.words


def test_it_says_how_many_get_above_chance_and_from_when() -> None:
    assert words(onset(512), onset(512), [64, None, 128]) == (
        "the full model gets above chance for good from step 512; "
        f"2 of 3 heads and MLPs do, the first from step 64; {END}."
    )
    assert "from step 512 (less label bias from step 64);" in words(onset(512), onset(64), [None])
    assert "from step 512 (not less label bias); none of 1 heads and MLPs does" in words(onset(512), NEVER, [None])
    assert "for good as it is, but less label bias it does from step 64;" in words(NEVER, onset(64), [8])
    assert "for good at the first checkpoint already;" in words(onset(None), onset(None), [8])
    several = tables(onset(8), onset(8), [8, 16])
    several["component_onsets"] = several["component_onsets"].with_columns(step=pl.Series([None, 16]))
    assert "2 of 2 heads and MLPs do, the first at the first checkpoint already;" in summary(several)[0].words


def test_it_says_where_all_is_noise_and_what_to_try() -> None:
    said = summary(tables(NEVER, NEVER, [None, None], T1=False))
    assert said[0].words == (
        f"neither the full model nor any of 2 heads and MLPs gets above chance for good up to step 1,024; {END}. "
        "What the sections below say of such a task describes noise."
    )
    assert "later checkpoints, other label words, more test rows" in to_try(said)


def test_a_curve_that_does_get_above_chance_is_no_noise() -> None:
    said = summary(tables(NEVER, NEVER, [None], T1=True))
    assert "up to step 1,024; T1 does; " in said[0].words
    assert "noise" not in said[0].words
    assert not to_try(said)


def test_without_tables_it_says_less_or_nothing() -> None:
    found = tables(NEVER, NEVER, [None])
    assert summary({}) == summary(found | {"emergence": pl.DataFrame()}) == []
    (said,) = summary(found | {"onsets": pl.DataFrame()})
    assert said.words == f"too few checkpoints to say when anything gets above chance; {END}."
