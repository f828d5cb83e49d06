"""The estimators: the textbook's analysis of variance, no bias with missing prompts, test rows taken out."""

import numpy as np
import pytest

from analysis.statistics.variance import quadratic_forms, sampling_covariance, split_variance

GRID = [(template, seed) for template in "abc" for seed in range(5)]


def estimate(form: np.ndarray | None, values: np.ndarray) -> float:
    assert form is not None
    return values @ form @ values


def test_a_full_grid_gives_the_textbooks_two_way_analysis() -> None:
    values = np.random.default_rng(0).normal(size=15)
    grid = values.reshape(3, 5)
    rows, columns, mean = grid.mean(1), grid.mean(0), grid.mean()
    ms_template = 5 * ((rows - mean) ** 2).sum() / 2
    ms_seed = 3 * ((columns - mean) ** 2).sum() / 4
    ms_rest = ((grid - rows[:, None] - columns + mean) ** 2).sum() / 8
    forms = quadratic_forms(GRID)
    assert estimate(forms["rest"], values) == pytest.approx(ms_rest)
    assert estimate(forms["template"], values) == pytest.approx((ms_template - ms_rest) / 5)
    assert estimate(forms["demonstrations"], values) == pytest.approx((ms_seed - ms_rest) / 3)


@pytest.mark.parametrize("missing", [[], [1], [0, 7, 14], [1, 2, 3, 5, 11]])
def test_expectations_are_the_variances_whatever_is_missing(missing: list[int]) -> None:
    """E[a' Q a] = sum over sources of variance * tr(Z' Q Z) must pick out one source each."""
    prompts = [prompt for i, prompt in enumerate(GRID) if i not in missing]
    z_template = np.array([[float(t == level) for level in "abc"] for t, _ in prompts])
    z_seed = np.array([[float(s == level) for level in range(5)] for _, s in prompts])
    covariances = {"template": z_template, "demonstrations": z_seed, "rest": np.eye(len(prompts))}
    for source, form in quadratic_forms(prompts).items():
        assert form is not None
        np.testing.assert_allclose(form.sum(), 0, atol=1e-12)
        for name, z in covariances.items():
            assert np.trace(z.T @ form @ z) == pytest.approx(float(name == source), abs=1e-9)


@pytest.mark.parametrize("prompts", [GRID[:5], GRID[::5], [("a", 0), ("b", 1), ("c", 2)]])
def test_what_a_grid_cannot_tell_apart_is_left_together(prompts: list[tuple[str, int]]) -> None:
    forms = quadratic_forms(prompts)
    assert forms["template"] is forms["demonstrations"] is None
    values = np.random.default_rng(1).normal(size=len(prompts))
    assert estimate(forms["rest"], values) == pytest.approx(values.var(ddof=1))
    assert quadratic_forms(GRID[:1]) == {"template": None, "demonstrations": None, "rest": None}


def test_sampling_covariance_equals_numpy_within_labels() -> None:
    rng = np.random.default_rng(2)
    gold = np.array([0] * 12 + [1] * 8)
    hits = rng.integers(0, 2, (4, 20, 3)).astype(float)
    covariance = sampling_covariance(hits, gold)
    for subject in range(3):
        by_label = [np.cov(hits[:, gold == y, subject]) * n / 20**2 for y, n in ((0, 12), (1, 8))]
        np.testing.assert_allclose(covariance[subject], sum(by_label))
    with_single_rows = sampling_covariance(hits, np.array([0] * 18 + [1, 2]))
    assert np.isfinite(with_single_rows).all()


def test_test_rows_are_taken_out_of_the_sources() -> None:
    """Templates that differ by chance only, on few test rows: without the correction they would seem to differ."""
    rng = np.random.default_rng(3)
    gold = np.arange(40) % 2
    net, gross, added = [], [], []
    for _ in range(300):
        difficulty = rng.random((1, 40, 1))
        of_template = np.repeat(rng.normal(scale=0.3, size=(3, 40, 1)), 5, axis=0)  # each template's own odd rows
        hits = (rng.random((15, 40, 1)) < np.clip(difficulty + of_template, 0, 1)).astype(float)
        forms, split = quadratic_forms(GRID), split_variance(GRID, hits, gold)
        template, rows = split.estimates["template"], split.estimates["test_rows"]
        assert template is not None
        assert rows is not None
        net.append(template[0])
        added.append(rows[0])
        gross.append(estimate(forms["template"], hits.mean(1)[:, 0]))
    error = np.std(net) / np.sqrt(300)
    assert abs(np.mean(net)) < 4 * error
    assert np.mean(gross) > 8 * error
    assert np.mean(added) > 0


def test_planted_variances_are_recovered() -> None:
    rng = np.random.default_rng(4)
    gold = np.arange(400) % 2
    estimates = []
    for _ in range(400):
        accuracy = 0.6 + np.repeat(rng.normal(scale=0.1, size=3), 5) + np.tile(rng.normal(scale=0.05, size=5), 3)
        hits = (rng.random((15, 400, 1)) < accuracy[:, None, None]).astype(float)
        split = split_variance(GRID, hits, gold)
        estimates.append([float(v[0]) for v in split.estimates.values() if v is not None])
    mean, error = np.mean(estimates, 0), np.std(estimates, 0) / 20
    assert (np.abs(mean[:3] - [0.01, 0.0025, 0]) < 4 * error[:3]).all()
