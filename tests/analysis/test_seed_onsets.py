"""Onsets and leads over training runs: brackets, their median, shares of runs that never emerge, mean leads."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import stats

import analysis
from analysis.seed_onsets import leads_over_full, over_runs
from figures import seed_onsets
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(80) % 2
STEPS = (0, 1, 2, 4, 8, 16, 32, 64)
RISES = {"m": (4, 16), "m-seed1": (2, 16), "m-seed2": (4, None), "other": (8, 8)}
"""Model -> the steps from which on component 3 and the full model are right on 90 %; None never."""


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of a model, in one of which the full model never emerges, and a model without a second seed."""
    root = tmp_path_factory.mktemp("seeds") / "out"
    store = new_store(root)
    for model, (component, full) in RISES.items():
        for step in STEPS:
            for seed in (0, 1):
                answers = np.random.default_rng([step, seed]).integers(0, 2, (80, 10))
                answers[:, 3] = answering([0.9 if step >= component else 0.5], GOLD, seed)[:, 0]
                right = 0.9 if full and step >= full else 0.5
                keys = {"model": model, "step": step, "demo_seed": seed}
                add_unit(store, answers, GOLD, full=answering([right], GOLD, seed + 9)[:, 0], **keys)
    return root


def rows(trainings: Path, curve: str, criterion: str) -> dict[str, dict[str, object]]:
    """Run -> its row; all of them under the empty name."""
    table = analysis.run("seed_onsets", trainings).filter(curve=curve, criterion=criterion, centred=False)
    return {row["run"]: row for row in table.iter_rows(named=True)}


def bracket(row: dict[str, object]) -> tuple[object, object, object]:
    return row["step_before"], row["step_after"], row["censored"]


def test_each_run_has_its_bracket_and_all_of_them_their_median(trainings: Path) -> None:
    by_run = rows(trainings, "Held-out T1", "half")
    assert {run: bracket(row) for run, row in by_run.items()} == {
        "": (2, 4, ""), "m": (2, 4, ""), "m-seed1": (1, 2, ""), "m-seed2": (2, 4, ""),
    }  # fmt: skip
    assert (by_run[""]["model"], by_run[""]["varies"], by_run[""]["n_runs"]) == ("m", "seed", 3)


def test_a_run_that_never_emerges_is_at_infinity_and_counted_exactly(trainings: Path) -> None:
    by_run = rows(trainings, "Full", "half")
    assert bracket(by_run["m-seed2"]) == (64, None, "never")
    assert bracket(by_run[""]) == (8, 16, "")
    whole = by_run[""]
    assert (whole["n_never"], whole["never"]) == (1, pytest.approx(1 / 3))
    exact = [stats.beta.ppf(0.025, 1, 3), stats.beta.ppf(0.975, 2, 2)]
    assert [whole["never_low"], whole["never_high"]] == pytest.approx(exact)
    assert whole["lead"] is whole["n_leads"] is whole["lead_reason"] is None


def test_a_mean_lead_needs_a_lead_of_every_run(trainings: Path) -> None:
    by_run = rows(trainings, "Held-out T1", "area")
    leads = leads_over_full(analysis.run("leads", trainings)).filter(
        curve="Held-out T1", criterion="area", centred=False
    )
    expected = dict(leads.select("model", "lead").iter_rows())
    assert {run: by_run[run]["lead"] for run in ("m", "m-seed1")} == {
        run: pytest.approx(expected[run]) for run in ("m", "m-seed1")
    }
    assert by_run["m-seed2"]["lead_reason"] == "Full does not emerge"
    whole = by_run[""]
    assert whole["lead"] is whole["lead_low"] is None
    assert whole["lead_reason"] == "1 of 3 runs have no lead, or only a bound"
    assert (whole["lead_min"], whole["lead_max"], whole["n_leads"]) == (
        pytest.approx(min(expected["m"], expected["m-seed1"])),
        pytest.approx(max(expected["m"], expected["m-seed1"])),
        2,
    )
    assert "only a bound: at least" in str(rows(trainings, "Held-out T1", "half")["m-seed2"]["lead_reason"])


def runs(onsets: list[tuple[str, int | None, int | None]], leads: list[float]) -> pl.DataFrame:
    """Runs with their onset as (censored, step_before, step_after), and exact leads."""
    return pl.DataFrame(
        {
            "emerges": [censored in ("", "before") for censored, _, _ in onsets],
            "censored": [censored for censored, _, _ in onsets],
            "step_before": pl.Series([before for _, before, _ in onsets], dtype=pl.Int64),
            "step_after": pl.Series([after for _, _, after in onsets], dtype=pl.Int64),
            "first_step": 1,
            "last_step": 64,
            "lead": pl.Series(leads, dtype=pl.Float64),
            "bound": "",
        }
    )


def test_the_median_of_two_runs_is_between_both() -> None:
    row = over_runs(runs([("", 2, 4), ("", 16, 32)], [1.0, 2.0]))
    assert (row["step_before"], row["step_after"]) == (2, 32)
    assert (row["lead"], row["lead_min"], row["lead_max"]) == (1.5, 1.0, 2.0)
    assert "lead_low" not in row


@pytest.mark.parametrize(
    ("onsets", "expected"),
    [
        ([("never", None, None), ("falls", None, None), ("", 2, 4)], (64, None, "never")),
        ([("never", None, None), ("", 8, 16)], (8, None, "never")),
        ([("before", None, None), ("before", None, None), ("", 2, 4)], (None, 1, "before")),
        ([("before", None, None), ("", 4, 8), ("never", None, None)], (4, 8, "")),
    ],
)
def test_never_is_after_the_last_checkpoint_and_before_is_before_the_first(
    onsets: list[tuple[str, int | None, int | None]], expected: tuple[object, object, str]
) -> None:
    row = over_runs(runs(onsets, [1.0] * len(onsets)))
    assert (row["step_before"], row["step_after"], row["censored"]) == expected


def test_the_interval_of_the_mean_lead_is_students_t_over_runs() -> None:
    leads = [0.5, 1.5, 1.0]
    row = over_runs(runs([("", 2, 4)] * 3, leads))
    half_width = stats.t.ppf(0.975, 2) * np.std(leads, ddof=1) / np.sqrt(3)
    assert [row["lead_low"], row["lead"], row["lead_high"]] == pytest.approx([1 - half_width, 1, 1 + half_width])


def test_without_a_second_seed_the_table_is_empty(results: Path) -> None:
    assert analysis.run("seed_onsets", results).is_empty()


def lines_near(axes: Axes, row: int) -> list[Line2D]:
    """The lines and points of one curve's row."""
    heights = [(line, np.asarray(line.get_ydata())) for line in axes.lines]
    return [line for line, y in heights if len(y) and abs(float(y[0]) - row) < 0.4]


def test_the_figure_has_a_line_per_run_and_a_bar_for_all(trainings: Path) -> None:
    table = analysis.run("seed_onsets", trainings).filter(centred=False)
    pictures = seed_onsets.draw(table)
    (axes,) = pictures["seed_onsets"].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    row = names.index("Full")
    lines = lines_near(axes, row)
    thin = [np.asarray(line.get_xdata()).tolist() for line in lines if line.get_linewidth() < 2]
    (bar,) = [np.asarray(line.get_xdata()).tolist() for line in lines if line.get_linewidth() > 5]
    edge = float(axes.get_xlim()[1])
    assert thin == [[3, 4], [3, 4], [6, edge], [edge]]
    assert bar == [3, 4]
    (axes,) = pictures["seed_onsets_leads"].axes
    row = [label.get_text() for label in axes.get_yticklabels()].index("Held-out T1")
    leads = [float(np.asarray(t.get_xdata())[0]) for t in lines_near(axes, row) if t.get_marker() == "|"]
    expected = table.filter(pl.col("run") != "", curve="Held-out T1", criterion="area")["lead"].drop_nulls()
    assert sorted(leads) == pytest.approx(sorted(expected.to_list()))
