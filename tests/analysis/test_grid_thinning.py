"""Thinned grids: onsets and leads of planted curves from every k-th checkpoint alone, with every offset."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.grid_thinning import thinned, thinnings
from analysis.seed_onsets import leads_over_full
from figures import grid_thinning
from figures.captions import format_number
from tests.mean_curves import curve
from tests.stores import add_unit, answering, new_store

STEPS = tuple(2**i for i in range(16))
GOLD = np.arange(60) % 2


def jump(after: int) -> np.ndarray:
    """.5 up to checkpoint `after`, .9 from the next on."""
    return np.where(np.arange(len(STEPS)) > after, 0.9, 0.5)


def test_a_jump_is_dated_in_the_middle_of_the_checkpoints_around_it() -> None:
    """From step 8 to 16: on every second checkpoint between 4 and 16, or between 8 and 32."""
    whole, half = (thinned(curve(STEPS, jump(3)), None, every) for every in (1, 2))
    assert [whole[f"t50_{name}"] for name in ("min", "median", "max")] == pytest.approx([2**3.5] * 3)
    assert [half[f"t50_{name}"] for name in ("min", "median", "max")] == pytest.approx([2**3, 2**3.5, 2**4])
    assert (half["t50_range"], half["n_offsets"], half["n_without_t50"]) == (pytest.approx(1), 2, 0)
    assert (half["n_checkpoints"], half["doublings_between"]) == (8, 2)
    assert "lead_median" not in half


def test_the_lead_between_two_jumps_moves_with_the_grid() -> None:
    """Two doublings apart: each is dated up to a doubling off, so that every third checkpoint sees 0 or 3 of them."""
    rows = {every: thinned(curve(STEPS, jump(3)), curve(STEPS, jump(5)), every) for every in (1, 2, 3)}
    assert {every: (row["lead_min"], row["lead_max"]) for every, row in rows.items()} == {
        1: (pytest.approx(2), pytest.approx(2)),
        2: (pytest.approx(2), pytest.approx(2)),
        3: (pytest.approx(0), pytest.approx(3)),
    }


def test_grids_without_a_value_are_counted_and_left_out() -> None:
    """A jump after the first checkpoint is before the first one of most offsets."""
    row = thinned(curve(STEPS, jump(0)), curve(STEPS, jump(5)), 4)
    assert (row["n_without_t50"], row["n_without_lead"]) == (3, 3)
    assert row["t50_min"] == row["t50_max"] == pytest.approx(2**2)
    never = thinned(curve(STEPS, np.full(16, 0.5)), curve(STEPS, jump(5)), 4)
    assert (never["n_without_t50"], never["n_without_lead"]) == (4, 4)
    assert not {"t50_median", "lead_median", "lead_range"} & never.keys()


def test_as_coarse_as_four_checkpoints() -> None:
    assert list(thinnings(25)) == [1, 2, 3, 4, 5, 6]
    assert list(thinnings(3)) == list(thinnings(7)) == [1]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Component 3 is right on 90 % from step 4 on, the full model from step 16 on."""
    root = tmp_path_factory.mktemp("planted") / "out"
    store = new_store(root)
    for step in (0, 1, 2, 4, 8, 16, 32, 64, 128):
        for seed in (0, 1):
            rng = np.random.default_rng([step, seed])
            answers = rng.integers(0, 2, (60, 10))
            answers[:, 3] = answering([0.9 if step >= 4 else 0.5], GOLD, seed)[:, 0]
            full = answering([0.9 if step >= 16 else 0.5], GOLD, seed + 50)[:, 0]
            add_unit(store, answers, GOLD, full=full, step=step, demo_seed=seed)
    return root


def test_the_whole_grid_and_its_halves_are_those_of_the_other_tables(planted: Path) -> None:
    table = analysis.run("grid_thinning", planted).filter(curve="Held-out T1", centred=False)
    whole, half = table.sort("every").iter_rows(named=True)
    onset = analysis.run("onsets", planted).filter(curve="Held-out T1", centred=False, criterion="half")
    leads = leads_over_full(analysis.run("leads", planted)).filter(curve="Held-out T1", centred=False, criterion="area")
    assert whole["t50_median"] == pytest.approx(onset["t"].item())
    assert whole["lead_median"] == pytest.approx(leads["lead"].item())
    halves = sorted([leads["lead_every_second"].item(), leads["lead_others"].item()])
    assert [half["lead_min"], half["lead_max"]] == pytest.approx(halves)


def test_bars_reach_from_the_least_to_the_largest_over_offsets(planted: Path) -> None:
    table = analysis.run("grid_thinning", planted).filter(centred=False)
    figure = grid_thinning.draw(table)["grid_thinning"]
    below = figure.axes[1]
    rows = table.filter(curve="Held-out T1").sort("every")
    (line,) = [line for line in below.lines if line.get_label() == "Held-out T1"]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(rows["lead_median"].to_list())
    bars = [np.asarray(path.vertices)[:, 1].tolist() for item in below.collections for path in item.get_paths()]
    assert rows.select("lead_min", "lead_max").row(1) in [pytest.approx(tuple(bar)) for bar in bars]
    whole, half = (rows.row(i, named=True) for i in (0, 1))
    ends = f"{format_number(half['lead_min'])} to {format_number(half['lead_max'])} from every second"
    assert f"{format_number(whole['lead_median'])} from all checkpoints, {ends}" in grid_thinning.caption(table)
