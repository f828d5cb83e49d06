"""Label-free calibrations in a sweep: against strings and plain forward passes, resumed, counted, verified, derived."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import Result
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import analysis
import dynamics.methods.content_free
import jobs.derive
import jobs.plan
import jobs.verify
from dynamics.controls import shuffled_labels
from dynamics.full_model import full_logits
from dynamics.methods.label_free import CONTENT_FREE, LABEL_FREE
from dynamics.partition import select_rows, task_rng
from dynamics.prompts import PromptSet
from dynamics.reference import corpus
from dynamics.reference.tokenizer import build_tokenizer
from dynamics.results.store import open_store, table_files
from dynamics.tasks import get_task
from jobs.sweep import app
from jobs.sweep_plan import read_plan
from tests.models import tiny_suite, write_plan
from tests.works import units_of

TASKS = [
    {"name": "topic", "templates": ["plain", "cue"], "demo_seeds": 2, "n_shots": [4], "n_test": 40, "n_train": 8},
    {"name": "wordmap", "templates": ["plain"], "demo_seeds": 1, "n_shots": [0], "n_test": 12, "n_train": 8},
]
ON, OFF = {"label_free_calibration": True}, {"label_free_calibration": False}
PATTERNS = {"plain": "{}", "cue": "{} concerns"}


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tiny checkpoints whose tokenizer knows every content-free text; read only."""
    tokenizer = build_tokenizer([*corpus.vocabulary(), *filter(None, CONTENT_FREE)], 256)
    return tiny_suite(tmp_path_factory.mktemp("knowing"), tokenizer)


@pytest.fixture(scope="module")
def swept(knowing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with both calibrations, under shuffled labels and with random weights too; read only."""
    root = tmp_path_factory.mktemp("swept")
    plan = plan_of(root, knowing, **ON, controls=["random_init", "shuffled_labels"])
    done = run(plan, root / "out")
    assert done.exit_code == 0, done.output
    assert "lack" not in done.output
    return root / "out"


def plan_of(folder: Path, suite_folder: Path, **changes: object) -> Path:
    """Five units a checkpoint."""
    settings = {"tasks": TASKS, "fits": {"n_labelled": [6]}, **changes}
    return write_plan(folder / "plan.toml", suite_folder, **settings)


def run(plan: Path, out: Path) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline`."""
    return CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])


def calibrations(out: Path) -> pl.DataFrame:
    """The rows of both calibrations, sorted."""
    rows = analysis.load(out, "prompt_scores").filter(pl.col("method").is_in(LABEL_FREE)).collect()
    return rows.sort("control", "step", "task", "template", "demo_seed", "method")


def reader(folder: Path, words: Sequence[str]) -> Callable[[str], np.ndarray]:
    """A function from a prompt to the probabilities of label words after it, by ordinary Hugging Face passes."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def probabilities(prompt: str) -> np.ndarray:
        ids = [tokenizer.convert_tokens_to_ids(word) for word in words]
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1, ids].double()
        return torch.softmax(logits, 0).numpy()

    return probabilities


@pytest.mark.parametrize("control", ["none", "shuffled_labels-0"])
@pytest.mark.parametrize("template", PATTERNS)
def test_contextual_calibration_is_what_strings_and_plain_passes_give(
    template: str, control: str, swept: Path, knowing: Path
) -> None:
    """Nothing but the rows of the task and its partition is taken from the code under test."""
    task = get_task("topic")
    rows = task.load(None) if control == "none" else shuffled_labels(task, task.load(None), 0)
    chosen = select_rows(task, rows, demo_seed=1, n_shots=4, n_test=40, n_train=8)
    pattern, read = PATTERNS[template], reader(knowing / "step4", task.label_words)
    shots = [f"{pattern.format(row.fields['text'])} {task.label_words[row.gold]}" for row in chosen.demonstrations]

    def probabilities(text: str) -> np.ndarray:
        return read(" . ".join([*shots, pattern.format(text)]).rstrip())

    prior = np.mean([probabilities(text) for text in ("N/A", "[MASK]", "")], 0)
    test = sorted(chosen.test, key=lambda row: row.example_id)
    predicted = [int((probabilities(row.fields["text"]) / prior).argmax()) for row in test]
    where = {"task": "topic", "template": template, "demo_seed": 1, "step": 4, "control": control}
    (stored,) = calibrations(swept).filter(method="contextual_calibration", **where).to_dicts()
    assert stored["label_prior"] == pytest.approx(prior.tolist(), rel=1e-4)
    assert stored["predictions"] == predicted
    assert stored["accuracy"] == np.mean([row.gold == label for row, label in zip(test, predicted, strict=True)])
    full = analysis.load(swept, "predictions").filter(pl.col("split") == "test").filter(**where).collect()
    assert predicted != full.sort("example_id")["full"].to_list()


def test_domain_context_calibration_samples_words_of_the_pool_rows(swept: Path, knowing: Path) -> None:
    task = get_task("topic")
    rows = task.load(None)
    rng = task_rng(task, "domain_context_calibration", 1)
    sampled = {}
    for name in ("scattered", "text"):
        texts = [row.fields[name].split() for row in rows.pool]
        words = [word for text in texts for word in text]
        drawn = rng.integers(len(words), size=(20, round(len(words) / len(texts))))
        sampled[name] = [" ".join(words[i] for i in positions) for positions in drawn]
    chosen = select_rows(task, rows, demo_seed=1, n_shots=4, n_test=40, n_train=8)
    shots = [f"{row.fields['text']} concerns {task.label_words[row.gold]}" for row in chosen.demonstrations]
    probabilities = reader(knowing / "step4", task.label_words)
    prior = np.mean([probabilities(" . ".join([*shots, f"{text} concerns"])) for text in sampled["text"]], 0)
    where = {"task": "topic", "template": "cue", "demo_seed": 1, "step": 4, "control": "none"}
    (stored,) = calibrations(swept).filter(method="domain_context_calibration", **where).to_dicts()
    assert stored["label_prior"] == pytest.approx(prior.tolist(), rel=1e-4)


def test_every_unit_has_each_once_without_labels(swept: Path) -> None:
    rows = calibrations(swept)
    assert len(rows) == 2 * 5 * (2 + 2 + 1)
    assert rows.select("unit_id", "fit_id").is_unique().all()
    assert rows["fit_id"].n_unique() == 2
    assert set(rows.select("variant", "n_labelled", "split").iter_rows()) == {("", 0, "test")}
    topic = rows.filter(task="topic")
    assert topic.filter(pl.col("accuracy").is_null() | pl.col("auc").is_not_null()).is_empty()
    assert set(topic.select("method", "n_prior_prompts", "n_shots_used", "n_examples").iter_rows()) == {
        ("contextual_calibration", 3, 4, 40),
        ("domain_context_calibration", 20, 4, 40),
    }
    assert topic["predictions"].list.len().unique().to_list() == [40]


def test_the_prior_of_batch_calibration_is_the_mean_over_the_test_rows(swept: Path) -> None:
    rows = analysis.load(swept, "prompt_scores").filter(pl.col("method") == "batch_calibration").collect()
    logits = analysis.load(swept, "contributions").filter(pl.col("split") == "test").collect()
    for row in rows.iter_rows(named=True):
        powers = np.exp(np.array(logits.filter(unit_id=row["unit_id"])["full"].to_list(), np.float64))
        assert row["label_prior"] == pytest.approx((powers / powers.sum(-1, keepdims=True)).mean(0))
        assert row["n_prior_prompts"] == row["n_examples"]


def test_random_weights_and_shuffled_labels_have_priors_of_their_own(swept: Path) -> None:
    topic = calibrations(swept).filter(task="topic", step=0)
    keys = ["method", "template", "demo_seed"]
    priors = topic.pivot("control", index=keys, values="label_prior")
    assert priors.height == 2 * 2 * 2
    for control in ("random_init-0", "shuffled_labels-0"):
        assert (priors["none"] != priors[control]).all()


def test_a_done_unit_runs_prompts_without_content_only(
    tmp_path: Path, knowing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(plan_of(tmp_path, knowing, **OFF), out).exit_code == 0
    before = {path: path.read_bytes() for path in sorted(out.rglob("*.parquet"))}
    assert calibrations(out).is_empty()
    ran: list[PromptSet] = []

    def spy(model, prompts: PromptSet, **settings):
        ran.append(prompts)
        return full_logits(model, prompts, **settings)

    monkeypatch.setattr(dynamics.methods.content_free, "full_logits", spy)
    monkeypatch.setattr("jobs.run_checkpoint.decompose", lambda *_, **__: pytest.fail("a unit was computed again"))
    later = run(plan_of(tmp_path, knowing, **ON), out)
    assert later.exit_code == 0, later.output
    assert "10 units, 10 already done, 0 to run\n" in later.output
    assert "\n10 units that are done lack a label-free calibration\n" in later.output
    assert "Standard" not in later.output
    assert sorted(len(prompts.own_ids) for prompts in ran) == [2] * 2 + [3] * 8 + [20] * 10
    assert before == {path: path.read_bytes() for path in before}
    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    again = run(plan_of(tmp_path, knowing, **ON), out)
    assert again.exit_code == 0
    assert "lack" not in again.output

    at_once = tmp_path / "at_once"
    monkeypatch.undo()
    run(plan_of(tmp_path, knowing, **ON), at_once)
    assert calibrations(at_once).equals(calibrations(out))


def test_what_is_lost_or_failed_comes_back_with_the_same_command(
    tmp_path: Path, knowing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "out", plan_of(tmp_path, knowing, **ON)
    with monkeypatch.context() as patch:
        patch.setattr("jobs.run_baselines.calibration_scores", lambda *_, **__: 1 / 0)
        failed = run(plan, out)
    assert failed.exit_code == 1
    assert "failed: tiny step 0 topic/plain seed 0 4-shot: ZeroDivisionError" in failed.output
    assert set(analysis.load(out, "units").collect()["status"]) == {"done"}
    lacking = CliRunner().invoke(jobs.verify.app, [str(out)])
    assert lacking.exit_code == 1
    assert "10 units lack fits, baselines or mechanisms that the plan requests" in lacking.output
    assert run(plan, out).exit_code == 0
    before = calibrations(out)
    assert len(before) == 20
    for entry, _, fits, _ in table_files(open_store(str(out)), "prompt_scores"):
        if fits and set(pl.read_parquet(entry.place)["method"]) & set(LABEL_FREE):
            entry.place.write_bytes(entry.place.read_bytes()[:-8])
    assert run(plan, out).exit_code == 0
    assert calibrations(out).equals(before)


def test_verify_finds_them_valid_and_derive_leaves_them_alone(tmp_path: Path, knowing: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(tmp_path, knowing, **ON), out)
    verified = CliRunner().invoke(jobs.verify.app, [str(out)])
    assert verified.exit_code == 0, verified.output
    before = calibrations(out)
    derived = CliRunner().invoke(jobs.derive.app, [str(out)])
    assert derived.exit_code == 0, derived.output
    assert calibrations(out).equals(before)


def test_a_plan_counts_their_prompts_and_units_stay_the_same(tmp_path: Path, knowing: Path) -> None:
    plan = plan_of(tmp_path, knowing, **ON)
    report = CliRunner().invoke(jobs.plan.app, [str(plan), "--json"])
    found = json.loads(report.stdout)
    assert (found["n_units"], found["n_baselines"], found["n_prior_prompts"]) == (10, 0, 10 * 23)
    said = CliRunner().invoke(jobs.plan.app, [str(plan)]).output
    assert "and up to 230 prompts without content, for label-free calibrations" in said
    assert "Standard" not in said
    on = [unit.unit_id for unit in units_of(read_plan(plan))]
    off = read_plan(plan_of(tmp_path, knowing, **OFF))
    assert on == [unit.unit_id for unit in units_of(off)]
    assert off.baselines == ()


def test_an_encoder_is_opened_for_prompt_selection_only(tmp_path: Path, knowing: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(plan_of(tmp_path, knowing, **ON, encoder="empty"), tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert len(calibrations(tmp_path / "out")) == 20


def test_they_are_rows_of_the_method_tables(swept: Path) -> None:
    table = analysis.run("reweighting_gain", swept).filter(control="none")
    label_free = {"centred_full", "batch_calibration", *LABEL_FREE}
    assert label_free | {"full", "calib_plus", "comp_rw"} <= set(table["method"])
    stored = calibrations(swept).filter(control="none", step=4, task="topic", method="contextual_calibration")
    full = analysis.load(swept, "prompt_scores").filter(pl.col("method") == "full").collect()
    gain = stored.join(full, on="unit_id").select(pl.col("accuracy") - pl.col("accuracy_right")).to_series()
    (row,) = table.filter(task="topic", step=4, method="contextual_calibration").to_dicts()
    assert (row["gain"], row["gain_sd"], row["n_prompts"]) == pytest.approx((gain.mean(), gain.std(), 4))
    paper = analysis.run("paper_tables", swept)["method"].unique(maintain_order=True).to_list()
    first = ["full", "centred_full", "batch_calibration", "contextual_calibration", "domain_context_calibration"]
    assert [method for method in paper if method in first] == paper[: len(first)] == first
