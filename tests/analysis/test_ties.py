"""One rule for ties: the component that a sweep stores as T1 is the one that curves follow."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.reading.answers import all_common_prompts, cached_reader, read_answers
from analysis.reading.gaps import read_gaps
from analysis.statistics.component_choice import choose
from analysis.statistics.curve_accuracies import PERMUTED, score_step
from analysis.statistics.curves import read_design
from analysis.statistics.replicates import all_counts
from dynamics.results.places import place
from tests.stores import add_unit, new_store

GOLD = np.arange(40) % 2


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two components are always right, the second is surer; a third one, the surest, is right less its label bias."""
    store = new_store(tmp_path_factory.mktemp("tied") / "out")
    for step in (1, 2):
        for seed in (0, 1):
            rng = np.random.default_rng([step, seed])
            logits = 0.1 * rng.normal(size=(40, 11, 2))
            for j, gap in ((2, 1.0), (4, 4.0), (7, 5.0)):
                logits[:, j] = gap * np.eye(2)[GOLD]
            logits[:, 7, 0] += 12
            add_unit(store, np.zeros((40, 10), int), GOLD, logits=logits, step=step, demo_seed=seed)
    return Path(str(store.root))


@pytest.mark.parametrize("swept", ["results", "tied"])
@pytest.mark.parametrize("centred", [False, True])
def test_the_stored_t1_is_the_one_that_curves_follow(swept: str, centred: bool, request: pytest.FixtureRequest) -> None:
    results = place(request.getfixturevalue(swept))
    method = "centred_oracle_t1" if centred else "oracle_t1"
    stored = analysis.load(results, "prompt_scores").filter(pl.col("method") == method)
    keys = ["task", "n_shots", "step", "template", "demo_seed"]
    by_prompt = {tuple(row[:-1]): row[-1] for row in stored.select(*keys, "component").collect().iter_rows()}
    n = 0
    for common in all_common_prompts(results):
        read = cached_reader(results, common, centred=centred)
        design = read_design(results, common)
        for answers in read(common.steps):
            for i, prompt in enumerate(common.prompts):
                template, seed = prompt.split("/")
                key = (common.group.task, common.group.n_shots, answers.step, template, int(seed))
                credit = answers.credit_counts(i, answers.credit_unit)
                counts = all_counts(design.replicates[PERMUTED], i, credit)[:, None, :1]
                assert answers.gaps is not None
                best = choose(counts, [1, 1], answers.gaps[i : i + 1]).best[0, 0]
                assert answers.components[best] == by_prompt.pop(key)
                n += 1
    assert n > 3
    assert not by_prompt


def test_gaps_are_read_by_prompt_and_component(tied: Path) -> None:
    (common,) = all_common_prompts(place(tied))
    answers = next(read_answers(place(tied), common.group, common, (1,)))
    assert answers.gaps is not None
    names = [f"L{j // 5}{'MLP' if j % 5 == 4 else f'H{j % 5}'}" for j in range(10)]
    assert list(answers.components) == names
    np.testing.assert_allclose(answers.gaps[:, [1, 3]], [[1, 4]] * 2, rtol=1e-6)
    stored = analysis.load(tied, "component_scores").filter(pl.col("step") == 1, pl.col("demo_seed") == 1).collect()
    gaps = {row["component"]: row["mean_gap"] for row in stored.iter_rows(named=True)}
    assert answers.gaps[1].tolist() == [gaps[name] for name in names]
    assert np.array_equal(np.array(answers.of_prompts(["paper/1"]).gaps), answers.gaps[1:2])
    swapped = read_gaps(place(tied), common.group, 1, ("paper/1", "paper/0"), names[::-1])
    np.testing.assert_array_equal(swapped, answers.gaps[::-1, ::-1])


def test_results_without_gaps_take_the_first_component(tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = "analysis.reading.gaps.valid_rows"
    nulls = analysis.load(tied, "component_scores").with_columns(mean_gap=pl.lit(None, pl.Float32))
    monkeypatch.setattr(without, lambda *_: nulls)
    (common,) = all_common_prompts(place(tied))
    (answers,) = cached_reader(place(tied), common)([1])
    best = score_step(answers, read_design(place(tied), common))[f"best/{PERMUTED}"]
    assert set(best[..., 0].ravel().tolist()) == {1}


@pytest.mark.parametrize(("centred", "best"), [(False, 3), (True, 6)])
def test_curves_choose_by_the_gaps(tied: Path, centred: bool, best: int) -> None:
    """Chosen on either half: the surest of those that are always right, in the form that is scored."""
    (common,) = all_common_prompts(place(tied))
    (answers,) = cached_reader(place(tied), common, centred=centred)([1])
    chosen = score_step(answers, read_design(place(tied), common))[f"best/{PERMUTED}"]
    assert set(chosen[..., 0].ravel().tolist()) == {best}
