"""Onsets and leads of planted curves: at their step, never where they never emerge, none on shuffled labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.component_onsets import component_onsets, observe
from analysis.false_emergence import as_many_or_more
from analysis.false_emergence import rows as false_rows
from analysis.leads import rows as lead_rows
from analysis.onsets import rows as onset_rows
from analysis.statistics.curve_accuracies import PERMUTED, design_of
from analysis.statistics.curves import component_curves
from analysis.statistics.replicates import N_SHUFFLED, all_counts
from tests.learning import STEPS, Design, reader, simulate
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Component 3 (L0H3) is right on 90 % from step 4 on, the full model from step 16 on; nothing else ever is."""
    store = new_store(tmp_path_factory.mktemp("planted") / "out")
    for step in (0, 1, 2, 4, 8, 16, 32):
        for seed in SEEDS:
            rng = np.random.default_rng([step, seed])
            answers = rng.integers(0, 2, (100, 10))
            if step >= 4:
                answers[:, 3] = answering([0.9], GOLD, seed)[:, 0]
            full = answering([0.9], GOLD, seed + 50)[:, 0] if step >= 16 else rng.integers(0, 2, 100)
            add_unit(store, answers, GOLD, full=full, step=step, demo_seed=seed)
    return Path(store.root)


def test_planted_curves_emerge_at_their_steps(planted: Path) -> None:
    table = analysis.run("onsets", planted).filter(criterion="null")
    by_curve = {row["curve"]: row for row in table.iter_rows(named=True)}
    assert {name: by_curve[name]["step"] for name in ("Full", "T1", "Held-out T1", "Cross-seed T1", "Last-T1")} == {
        "Full": 16, "T1": 4, "Held-out T1": 4, "Cross-seed T1": 4, "Last-T1": 4,
    }  # fmt: skip
    assert 2 < by_curve["T1"]["t"] <= 4
    assert by_curve["T1"]["low"] <= by_curve["T1"]["t"] <= by_curve["T1"]["high"]
    assert by_curve["Full"]["n_prompts_emerged"] == by_curve["Full"]["n_prompts"] == 3
    assert table["censored"].unique().to_list() == [""]


def test_the_lead_counts_doublings_and_prompts(planted: Path) -> None:
    table = analysis.run("leads", planted).filter(curve="Held-out T1", template="", over_centred=False)
    lead = table.filter(criterion="half").row(0, named=True)
    assert lead["lead"] == pytest.approx(2, abs=0.2)
    assert (lead["bound"], lead["reason"]) == ("", "")
    assert lead["low"] >= 0.9  # from step 4 at the latest to step 8 at the earliest, give or take the replicates
    assert (lead["n_ahead"], lead["n_behind"], lead["n_seeds_ahead"]) == (3, 0, 3)
    area = table.filter(criterion="area").row(0, named=True)
    assert area["low"] < 2 < area["high"]
    assert area["n_ahead"] is None


def test_counts_are_no_tests(planted: Path) -> None:
    assert not [name for name in analysis.run("leads", planted).columns if name.startswith("p_")]


def test_the_two_checkpoints_around_an_onset_are_its_least_interval(planted: Path) -> None:
    rows = analysis.run("onsets", planted).filter("emerges").iter_rows(named=True)
    for row in rows:
        assert row["step_before"] <= row["t"] <= row["step_after"] == row["step"]
        assert row["first_passage"] <= row["step_after"]
        assert row["last_exit"] is None or row["last_exit"] >= row["step_before"]
        if row["low"] is not None:
            assert row["low"] <= row["step_before"]
        if row["high"] is not None:
            assert row["high"] >= row["step_after"]
        if row["criterion"] == "half" and row["curve"] in ("Full", "T1", "Held-out T1"):
            assert row["t40"] <= row["t"] <= row["t60"]
            assert row["level"] == pytest.approx((row["floor"] + row["plateau"]) / 2, abs=0.03)
            assert row["n_plateau"] == 3


@pytest.fixture(scope="module")
def wavering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full model is right on 90 % from step 4 on but for the last step; components only from step 2 to step 8."""
    store = new_store(tmp_path_factory.mktemp("wavering") / "out")
    for step in (0, 1, 2, 4, 8, 16, 32, 64, 128):
        for seed in SEEDS:
            for template in ("a", "b", "c"):
                rng = np.random.default_rng([step, seed, ord(template)])
                answers = rng.integers(0, 2, (100, 10))
                if 2 <= step <= 8:
                    answers[:, 3] = answering([0.9], GOLD, seed)[:, 0]
                knows = 4 <= step < 128
                full = answering([0.9], GOLD, seed + 50)[:, 0] if knows else rng.integers(0, 2, 100)
                add_unit(store, answers, GOLD, full=full, step=step, demo_seed=seed, template=template)
    return Path(store.root)


def test_one_bad_last_checkpoint_and_a_rise_that_does_not_last(wavering: Path) -> None:
    table = analysis.run("onsets", wavering)
    full = table.filter(curve="Full", criterion="half").row(0, named=True)
    assert (full["emerges"], full["step"], full["last_exit"]) == (True, 4, None)
    assert full["plateau"] == pytest.approx(0.9, abs=0.02)
    assert full["final"] < 0.6
    for criterion in ("null", "half"):
        best = table.filter(curve="T1", criterion=criterion).row(0, named=True)
        assert (best["emerges"], best["censored"], best["t"], best["step"]) == (False, "falls", None, None)
        assert (best["peak"], best["drop"]) == (pytest.approx(0.9, abs=0.02), pytest.approx(0.35, abs=0.06))
        assert 2 <= best["peak_step"] <= 8
    risen = table.filter(curve="T1", criterion="null").row(0, named=True)
    assert 1 < risen["first_passage"] <= 2
    assert 2 < risen["doublings_above"] < 4
    assert best["doublings_above"] is best["first_passage"] is best["level"] is None


def test_what_is_known_from_the_first_checkpoint_on_has_no_onset(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step in (8, 16, 32, 64):
        for seed in SEEDS:
            answers = answering([0.9] * 10, GOLD, seed)
            full = GOLD if step > 16 else np.random.default_rng([step, seed]).integers(0, 2, 100)
            add_unit(store, answers, GOLD, full=full, step=step, demo_seed=seed)
    numbers = ("step", "tokens_seen", "t", "low", "high", "step_before", "step_after")
    for name in ("onsets", "component_onsets"):
        table = analysis.run(name, store.root)
        known = table.filter(curve="T1") if name == "onsets" else table.filter(component="L0H1")
        assert known["emerges"].all()
        assert known["censored"].unique().to_list() == ["before"]
        assert all(value is None for row in known.to_dicts() for key, value in row.items() if key in numbers)
    leads = analysis.run("leads", store.root).filter(curve="T1", template="", centred=False)
    assert leads["lead"].null_count() == leads["low"].null_count() == len(leads)
    assert leads["reason"].unique().to_list() == ["T1 is above its level before the first checkpoint"]


def test_the_band_of_a_components_plateau_is_that_of_the_median_of_its_late_nulls() -> None:
    design = Design(n_templates=1, n_seeds=1, n_examples=100)
    answers = simulate(design, seed=1)
    permuted = design_of(answers[STEPS[0]], n=200)
    observed = observe((answers[step] for step in STEPS), permuted, 3)
    null = [
        all_counts(permuted.replicates[PERMUTED], 0, answers[step].credit_counts(0, 1)).sum(0)[1:-N_SHUFFLED].T / 100
        for step in STEPS
    ]
    late = np.median(null[-3:], 0)
    in_sds = (observed.null[0] - null[0].mean(-1)) / null[0].std(-1)
    np.testing.assert_allclose(observed.null[-1], late.mean(-1) + in_sds * late.std(-1))


def test_a_component_that_loses_what_it_knew_falls(wavering: Path) -> None:
    table = analysis.run("component_onsets", wavering).filter(component="L0H3")
    for row in table.iter_rows(named=True):
        assert (row["emerges"], row["censored"], row["t"], row["step"]) == (False, "falls", None, None)
        assert row["plateau"] < 0.6
    assert table.filter(criterion="half")["level"].to_list() == [None]


def test_components_are_resampled_in_parts_where_memory_is_short(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = component_onsets(planted)
    monkeypatch.setattr("analysis.component_onsets.REPLICATE_BYTES", 4 * 1000 * 7 * 3)
    assert component_onsets(planted).equals(whole)


def test_half_way_of_a_component_starts_at_the_mean_of_its_null(planted: Path) -> None:
    """Which is chance for labels that are balanced; and components agree with curves of one component."""
    onsets = analysis.run("component_onsets", planted).filter(component="L0H3", criterion="half")
    assert onsets["level"].item() == pytest.approx((0.5 + onsets["plateau"].item()) / 2, abs=0.005)
    assert onsets["plateau"].item() == pytest.approx(0.9, abs=0.01)


def test_every_template_has_a_lead_of_its_own(wavering: Path, planted: Path) -> None:
    table = analysis.run("leads", wavering).filter(curve="Held-out T1", centred=False, over_centred=False)
    assert table["template"].unique().sort().to_list() == ["", "a", "b", "c"]
    assert table.filter(template="a")["n_prompts"].unique().to_list() == [3]
    pooled, own = table.filter(pl.col("template") == ""), table.filter(pl.col("template") != "")
    assert pooled["n_prompts"].unique().to_list() == [9]
    assert pooled["n_templates"].unique().to_list() == [3]
    assert own["n_templates"].null_count() == len(own)
    assert pooled.filter(criterion="half")["templates_reason"].item() == (
        "3 of 3 templates have no lead, or only a bound"
    )
    one = analysis.run("leads", planted).filter(template="", curve="T1", over_centred=False)["templates_reason"]
    assert one.unique().to_list() == ["an interval over templates needs 3; there are 1"]


def test_a_lead_of_one_template_is_the_lead_of_results_with_that_template_alone() -> None:
    design = Design(n_seeds=3, n_examples=100)
    answers = simulate(design, seed=3)
    alone = replace(design.common, prompts=design.common.prompts[3:6])
    of_one = {step: one.of_prompts(alone.prompts) for step, one in answers.items()}
    every, single = (
        component_curves(reader(given), common, design_of(given[STEPS[0]], n=300))
        for given, common in ((answers, design.common), (of_one, alone))
    )
    columns = ("curve", "criterion", "lead", "low", "high", "lead_others", "n_ahead", "n_seeds_behind")
    expected = [tuple(row.get(name) for name in columns) for row in lead_rows(single) if row["template"] == ""]
    found = [tuple(row.get(name) for name in columns) for row in lead_rows(every) if row["template"] == "t1"]
    assert len(found) == 20
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, nan_ok=True)


def test_only_the_planted_component_emerges(planted: Path) -> None:
    table = analysis.run("component_onsets", planted).filter(criterion="null of any component")
    assert table.filter(pl.col("emerges"))["component"].to_list() == ["L0H3"]
    onset = table.filter(component="L0H3").row(0, named=True)
    assert onset["step"] == 4
    assert onset["step_before"] <= onset["t"] <= onset["step_after"] <= onset["high"]
    never = table.filter(component="L1MLP").row(0, named=True)
    assert (never["step"], never["t"], never["high"], never["censored"]) == (None, None, None, "never")


def test_every_curve_names_the_rows_it_was_chosen_on(planted: Path) -> None:
    table = analysis.run("emergence", planted)
    assert table.filter(pl.col("curve") != "Full")["selected_on"].null_count() == 0
    assert (table["low"] <= table["mean"] + 1e-9).all()
    assert (table["high"] >= table["mean"] - 1e-9).all()
    assert table["resampled"].unique().to_list() == ["seeds and examples"]


def test_a_full_model_that_never_emerges_leaves_the_lead_open(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step in (1, 2, 4):
        answers = np.random.default_rng(step).integers(0, 2, (100, 10))
        if step > 1:
            answers[:, 0] = GOLD
        add_unit(store, answers, GOLD, full=np.zeros(100, int), step=step)
    onsets = analysis.run("onsets", store.root).filter(criterion="null")
    assert onsets.filter(curve="Full").select("emerges", "step", "censored", "never").row(0) == (
        False,
        None,
        "never",
        1,
    )
    lead = (
        analysis.run("leads", store.root)
        .filter(criterion="null", curve="T1", template="", over_centred=False)
        .row(0, named=True)
    )
    assert lead["bound"] == "at least"
    assert lead["high"] is None
    assert lead["resampled"] == "examples"


def test_shuffled_labels_do_not_emerge_more_often_than_the_level() -> None:
    """250 shuffles of a sweep that learns, of every curve; beside it, components that never learn anything."""
    design = Design(n_seeds=3, n_examples=100)
    answers = simulate(design, seed=5)
    group = component_curves(reader(answers), design.common, design_of(answers[STEPS[0]], n=400))
    for row in false_rows(group):
        assert row["n_shuffled"] >= 200
        assert row["n_emerged"] <= row["n_ever_above"]
        assert row["p"] > 0.01, row
    assert {row["curve"]: row["last_above"] for row in false_rows(group)}["Full"]


def test_guessing_emerges_nowhere() -> None:
    design = Design(learns_at=(np.inf,) * 5, full_at=np.inf, n_seeds=3, n_examples=100)
    answers = simulate(design, seed=6)
    group = component_curves(reader(answers), design.common, design_of(answers[STEPS[0]], n=300))
    rows = [row for row in onset_rows(group) if row["criterion"] in ("null", "half")]
    assert not any(row["emerges"] for row in rows)
    assert {row["censored"] for row in rows} == {"never"}
    assert {row["bound"] for row in lead_rows(group) if row["criterion"] == "null"} == {"undefined"}


def test_binomial_tail() -> None:
    assert as_many_or_more(0, 250, 0.01) == pytest.approx(1)
    assert as_many_or_more(1, 250, 0.01) == pytest.approx(1 - 0.99**250)


def test_fits_have_curves_where_their_answers_are_stored(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step in (1, 2):
        for seed in SEEDS:
            labels = answering([0.9], GOLD, seed)[:, 0]
            fit = {"variant": "default", "n_labelled": 24, "accuracy": 0.9, "fit_id": "f"}
            scores = [
                {"method": "comp_rw", **fit, "predictions": labels.tolist()},
                {"method": "calib_plus", **fit, "accuracy": None, "reason": "overlong"},
            ]
            answers = np.random.default_rng(seed).integers(0, 2, (100, 10))
            add_unit(store, answers, GOLD, step=step, demo_seed=seed, scores=scores)
    table = analysis.run("emergence", store.root)
    fit = table.filter(curve="COMP RW")
    assert fit["mean"].to_list() == pytest.approx([0.9, 0.9])
    assert fit["band"].null_count() == fit["low"].null_count() == 0
    assert fit["selected_on"].unique().to_list() == ["train"]
    assert "COMP RW" in analysis.run("onsets", store.root)["curve"].to_list()
    assert "Calib+" not in table["curve"].to_list()
