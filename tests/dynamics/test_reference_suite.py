"""What the shipped checkpoints must show, by plain Hugging Face forward passes that share nothing with the pipeline."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dynamics.reference.manifest import damaged_steps, read_manifest
from dynamics.reference.pretraining import documents_hash
from dynamics.reference.suite import checkpoints_dir
from dynamics.tasks import Row, Task, Template, sentiment, topic, wordmap

TASKS = {module.TASK.name: module.TASK for module in (sentiment, topic, wordmap)}
N_SEEDS, N_SHOTS, N_QUERIES = 15, 8, 8
FOLDER = checkpoints_dir()
MANIFEST = read_manifest(FOLDER)
CHANCE = {"sentiment": 0.5, "topic": 0.25, "wordmap": 0.5}


def balanced(rows: tuple[Row, ...], n: int, n_labels: int, rng: np.random.Generator) -> list[Row]:
    """A sample of n rows, as many of each label, in random order."""
    by_label = [[row for row in rows if row.gold == label] for label in range(n_labels)]
    sample = [group[i] for group in by_label for i in rng.permutation(len(group))[: n // n_labels]]
    return [sample[i] for i in rng.permutation(len(sample))]


def prompts_of(task: Task, template: Template, seed: int, n_shots: int) -> tuple[list[str], list[int], list[str]]:
    """Prompts, gold labels and this seed's label words."""
    rng = np.random.default_rng(seed)
    words = [task.label_words[i] for i in rng.permutation(len(task.label_words))[: task.n_labels]]
    words = words if len(task.label_words) > task.n_labels else list(task.label_words)
    rows = task.load(None)
    shots = balanced(rows.pool, n_shots, task.n_labels, rng)
    queries = balanced(rows.test, N_QUERIES, task.n_labels, rng)
    filled = [template.text.format(label=words[row.gold], **row.fields) for row in shots]
    open_text = template.text.removesuffix(" {label}")
    prompts = [template.separator.join([*filled, open_text.format(**row.fields)]) for row in queries]
    return prompts, [row.gold for row in queries], words


@cache
def evaluation_set(name: str, n_shots: int) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Per template: token ids, gold labels and label ids, one line for every seed and query."""
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "step0", local_files_only=True)
    sets_by_template = {}
    for template in TASKS[name].templates:
        sets = [prompts_of(TASKS[name], template, seed, n_shots) for seed in range(N_SEEDS)]
        ids = torch.tensor(tokenizer([prompt for prompts, _, _ in sets for prompt in prompts])["input_ids"])
        gold = torch.tensor([label for _, golds, _ in sets for label in golds])
        labels = torch.tensor([tokenizer.convert_tokens_to_ids(words) for _, _, words in sets])
        sets_by_template[template.name] = (ids, gold, labels.repeat_interleave(N_QUERIES, dim=0))
    return sets_by_template


@cache
def model_at(step: int) -> torch.nn.Module:
    folder = FOLDER / f"step{step}"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


@cache
def accuracies(name: str, step: int, n_shots: int = N_SHOTS) -> dict[str, float]:
    """Accuracy per template, over all seeds; ties would count as the first label, but float32 logits have none."""
    accuracy_by_template = {}
    with torch.inference_mode():
        for template, (ids, gold, labels) in evaluation_set(name, n_shots).items():
            logits = model_at(step)(input_ids=ids, logits_to_keep=1).logits[:, -1]
            accuracy_by_template[template] = (logits.gather(1, labels).argmax(1) == gold).double().mean().item()
    return accuracy_by_template


def mean_accuracy(name: str, step: int, n_shots: int = N_SHOTS) -> float:
    return float(np.mean(list(accuracies(name, step, n_shots).values())))


def rise(name: str) -> list[float]:
    """8-shot accuracy at every step, 0 at chance and 1 at the last checkpoint."""
    curve = [mean_accuracy(name, step) - CHANCE[name] for step in MANIFEST.steps]
    return [value / curve[-1] for value in curve]


def half_way(name: str) -> int:
    """The first step from which the rescaled accuracy stays above one half."""
    below = [step for step, value in zip(MANIFEST.steps, rise(name), strict=True) if value < 0.5]
    return next(step for step in MANIFEST.steps if step > below[-1])


def test_shipped_files_are_those_of_the_manifest() -> None:
    assert damaged_steps(FOLDER, MANIFEST) == []
    assert MANIFEST.steps[:11] == (0, 1, 2, 4, 8, 16, 32, *MANIFEST.steps[7:11])
    assert {64, 128, 256, 512} <= set(MANIFEST.steps)
    folders = {path.name for path in FOLDER.iterdir()} - {"manifest.json"}
    assert folders == {f"step{step}" for step in MANIFEST.steps}


def test_suite_is_small() -> None:
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert size <= 10_000_000
    assert MANIFEST.n_parameters == sum(p.numel() for p in model_at(0).parameters()) <= 200_000


def test_the_corpus_still_makes_the_documents_that_the_suite_was_trained_on() -> None:
    assert documents_hash(MANIFEST.recipe) == MANIFEST.documents_sha256


@pytest.mark.parametrize("name", TASKS)
def test_step_zero_is_at_chance(name: str) -> None:
    assert mean_accuracy(name, 0) == pytest.approx(CHANCE[name], abs=0.1)


@pytest.mark.parametrize("name", TASKS)
def test_last_step_solves_the_task_and_the_third_template_is_harder(name: str) -> None:
    last = accuracies(name, MANIFEST.steps[-1])
    assert min(last["plain"], last["cue"]) >= 0.95
    assert 0.7 <= last["buried"] <= min(last["plain"], last["cue"]) - 0.03
    learning = [step for step, value in zip(MANIFEST.steps, rise(name), strict=True) if 0.2 < value < 0.95]
    behind = [accuracies(name, step)["plain"] - accuracies(name, step)["buried"] for step in learning]
    assert np.mean(behind) > 0.15


def test_arbitrary_labels_are_learnt_in_context_only() -> None:
    last = MANIFEST.steps[-1]
    assert mean_accuracy("wordmap", last, n_shots=0) == pytest.approx(0.5, abs=0.1)
    assert mean_accuracy("wordmap", last) >= 0.9


@pytest.mark.parametrize("name", TASKS)
def test_no_task_is_learnt_between_two_neighbouring_checkpoints(name: str) -> None:
    values = rise(name)
    assert max(after - before for before, after in pairwise(values)) <= 0.5
    assert sum(0.1 < value < 0.9 for value in values) >= 3


def test_tasks_are_learnt_at_different_times() -> None:
    assert half_way("wordmap") >= 2 * max(half_way("sentiment"), half_way("topic"))
