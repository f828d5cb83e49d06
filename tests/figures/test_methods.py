"""Figures of contrast, transfer and reweighting: their axes, and the message where there is nothing to draw."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes

import analysis
from dynamics.methods.variants import VARIANTS
from figures import contrast, reweighting_gain, style, transfer, transfer_weights
from figures.drawing import draw
from figures.training_axis import step_position
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2
STEPS = (0, 1, 2, 4)
PARTNERS = {("sst2", "contrast"): {"contrasts_with": "paper"}, ("yelp", "paper"): {"demonstrations_of": "sst2"}}
METHODS = [
    *[("comp_rw", variant, k) for variant in ("default", "official_code", "paper") for k in (12, 24)],
    *[("calib_plus", variant, k) for variant in ("official_code", "paper") for k in (12, 24)],
    *[("heldout_t1", "train_rows", k) for k in (12, 24)],
    ("heldout_t1", "split_half", 0),
    ("contextual_calibration", "", 0),
    ("domain_context_calibration", "", 0),
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 with its contrastive pair and Yelp, growing over four steps, with every method."""
    store = new_store(tmp_path_factory.mktemp("planted") / "out")
    for step in STEPS:
        for task, template, loss in (("sst2", "paper", 0.0), ("sst2", "contrast", 0.05), ("yelp", "paper", 0.1)):
            for seed in (0, 1):
                best = 0.5 + 0.1 * step - loss - 0.01 * seed
                rows = [
                    {"method": m, "variant": v, "n_labelled": k, "accuracy": best - 0.01 * i}
                    for i, (m, v, k) in enumerate(METHODS)
                ]
                answers = answering([best, best - 0.05] + [0.5] * 8, GOLD, seed)
                full = answering([best - 0.1], GOLD)[:, 0]
                keys = {"step": step, "task": task, "template": template, "demo_seed": seed}
                keys |= PARTNERS.get((task, template), {})
                add_unit(store, answers, GOLD, full=full, scores=rows, **keys)
    return store.root


def curve_values(axes: Axes, label: str, steps: Sequence[int]) -> list[float]:
    """y of a curve at steps above 0, by its label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    points = dict(zip(*map(np.ndarray.tolist, map(np.asarray, line.get_data())), strict=True))
    return [points[x] for x in step_position(np.array(steps)).tolist()]


def test_contrast_draws_the_pair_above_each_other(planted: Path) -> None:
    table = analysis.run("contrast", planted)
    axes = contrast.draw(table)["contrast"].axes
    rows = table.filter(template="paper", partner="contrast", curve="T1").sort("step").filter(pl.col("step") > 0)
    assert curve_values(axes[0], "T1", STEPS[1:]) == pytest.approx(rows["accuracy"].to_list())
    assert curve_values(axes[1], "T1", STEPS[1:]) == pytest.approx(rows["partner_accuracy"].to_list())
    assert axes[0].get_title(loc="left") == "sst2, 4-shot\nunder “paper”"


def test_contrast_without_a_pair_says_so(results: Path) -> None:
    table = analysis.run("contrast", results)
    assert "(no contrastive pair)" in contrast.draw(table)["contrast"].axes[0].get_title(loc="left")


def test_transfer_draws_the_published_pair_and_the_matrix(planted: Path) -> None:
    table = analysis.run("transfer", planted)
    pictures = transfer.draw(table)
    (axes,) = pictures["transfer"].axes
    assert axes.get_title(loc="left") == "sst2 → yelp, 4-shot (2 prompts)"
    rows = table.filter(matched="prompt").sort("step").filter(pl.col("step") > 0)
    for curve, column in transfer.COLUMNS.items():
        assert curve_values(axes, curve, STEPS[1:]) == pytest.approx(rows[column].to_list())
    matrix = np.asarray(pictures["transfer_matrix"].axes[0].images[0].get_array())
    last = table.filter(matched="task", step=4)
    assert matrix[0, 1] == pytest.approx(last.filter(source="sst2", target="yelp")["transfer_1"].item())
    assert matrix[1, 0] == pytest.approx(last.filter(source="yelp", target="sst2")["transfer_1"].item())


def test_transfer_without_a_second_task_says_so(results: Path, tmp_path: Path) -> None:
    figure = draw("transfer", results, tmp_path)
    assert (figure.pictures, [path.name for path in figure.files]) == ((), ["transfer.csv"])
    assert "nothing to transfer" in figure.missing


def test_weights_of_another_task_are_drawn_beside_the_tasks_own() -> None:
    row = {"model": "m", "dtype": "float32", "control": "none", "n_shots": 4, "variant": "default", "chance": 0.5}
    row |= {"transfer_rw_sd": None, "own_rw_sd": None, "full_sd": None, "gain": 0.1}
    rows = [
        {**row, "n_labelled": k, "step": step, "source": source, "target": "b", "matched": "task"}
        | {"transfer_rw": 0.5 + k / 100, "own_rw": 0.9, "full": 0.4}
        for k in (12, 24)
        for step in (1, 2)
        for source in ("a", "b")
    ]
    (axes,) = transfer_weights.draw(pl.DataFrame(rows))["transfer_weights"].axes
    assert axes.get_title(loc="left") == "a → b, 4-shot, K = 24"
    assert curve_values(axes, "Transfer-1", [1, 2]) == pytest.approx([0.74, 0.74])
    assert curve_values(axes, "COMP RW", [1, 2]) == pytest.approx([0.9, 0.9])


def test_gain_has_a_panel_per_number_of_labels_with_every_method(planted: Path) -> None:
    table = analysis.run("reweighting_gain", planted)
    figure = reweighting_gain.draw(table)["reweighting_gain"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"{task}, 4-shot, K = {k}" for task in ("sst2", "yelp") for k in (12, 24)]
    rows = table.filter(task="sst2", method="comp_rw", variant="official_code", n_labelled=24).sort("step")
    expected = rows.filter(pl.col("step") > 0)["accuracy"].to_list()
    assert curve_values(figure.axes[1], "COMP RW, official code", STEPS[1:]) == pytest.approx(expected)
    wanted = {"Full", "Calib+, paper", "Held-out T1, split half", "Held-out T1, train rows", "Full, centred"}
    wanted |= {"Batch calibration", "Contextual calibration", "Domain-context calibration"}
    for axes in figure.axes:
        assert wanted <= {str(line.get_label()) for line in axes.lines}
    assert "not in these results" not in str(figure.get_supxlabel())


def test_gain_draws_what_there_is_and_names_what_is_missing(results: Path) -> None:
    drawn = ["full", "centred_full", "batch_calibration"]
    table = analysis.run("reweighting_gain", results).filter(pl.col("method").is_in(drawn))
    figure = reweighting_gain.draw(table)["reweighting_gain"]
    assert str(figure.get_supxlabel()).endswith(
        "not in these results: Contextual calibration, Domain-context calibration, Calib+, COMP RW, Held-out T1"
    )


def test_variants_of_a_method_look_different() -> None:
    looks = {
        str(sorted(reweighting_gain.variant_look(name, variant).items(), key=str))
        for name, variant in (
            ("COMP RW", "default"), ("COMP RW", "paper"), ("COMP RW", "official_code"), ("Calib+", "paper"),
            ("Calib+", "official_code"), ("Held-out T1", "train_rows"), ("Held-out T1", "split_half"),
            ("Full", ""), ("Full, centred", ""), ("Batch calibration", ""), ("Contextual calibration", ""),
            ("Domain-context calibration", ""),
        )
    }  # fmt: skip
    assert len(looks) == 12
    dashes = [reweighting_gain.variant_look(name, "")["linestyle"] for name in ("Full", "Full, centred")]
    assert dashes[0] != dashes[1]


def test_every_variant_has_a_look_of_its_own() -> None:
    looks = [style.VARIANT_LOOKS[name] for name in VARIANTS]
    assert len({repr(look) for look in looks}) == len(looks)
