"""A results folder of any size with planted answers, to see what analyses cost: time, and memory above all.

    python -m tests.benchmarks.scale_store OUT [--steps 154] [--tasks 10] [--n-test 200] [--layers 32] [--heads 32]

The shape is Pythia-6.9B's: 32 layers of 32 heads and an MLP, the embedding and 32 attention biases, 1,089 components.
With the defaults, 154 steps x 10 tasks x 15 prompts x 2 splits give 50.3 M rows of `component_scores` in 1,540 files,
and `predictions`, `prompt_scores` and `reweightings` that match. Contributions would be 50 GB; `--contributions` writes
them, for a few steps: they are random and match nothing, but cost as much as real ones.

Every component has an onset and a final accuracy of its own, half of them answer one label only, as in a real model;
accuracies, shares and best components are computed from the answers, margins and weights are random.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from dynamics.components import Component, component_grid
from dynamics.results.file_names import part_id
from dynamics.results.schema import TABLES
from dynamics.results.store import ResultStore, open_store, read_units, write_units

TASKS = {
    "sst2": 2,
    "boolq": 2,
    "qqp": 2,
    "wic": 2,
    "rte": 2,
    "mnli": 3,
    "agnews": 4,
    "arc_easy": 4,
    "yelp": 2,
    "mrpc": 2,
}
"""Task -> number of labels; ten of them."""
TEMPLATES, SEEDS, N_TRAIN = ("paper", "contrast", "third"), 5, 24
WORDS = ("no", "yes", "maybe", "never")


@dataclass(frozen=True)
class Shape:
    """How large.

    Attributes:
        steps: the checkpoints.
        tasks: how many of `TASKS`.
        n_test: test rows of every unit.
        components: the component axis.
        contributions: whether they are written.
    """

    steps: tuple[int, ...]
    tasks: int
    n_test: int
    components: tuple[Component, ...] = component_grid(32, 32, attention_bias=True)
    contributions: bool = False

    @property
    def n_rows(self) -> int:
        """Rows of `component_scores`."""
        return len(self.steps) * self.tasks * len(TEMPLATES) * SEEDS * 2 * len(self.components)


def steps_of(n: int) -> tuple[int, ...]:
    """The last n of Pythia's 154 steps, or all of them."""
    every = [0, *(2**i for i in range(10)), *range(1000, 144000, 1000)]
    return tuple(every[-n:])


def write(root: Path, shape: Shape) -> ResultStore:
    """Write the folder, one part per (step, task)."""
    store = open_store(root, create=True)
    for step in shape.steps:
        for task in list(TASKS)[: shape.tasks]:
            units, tables = part(shape, step, task)
            write_units(store, units, tables)
    return store


def add_checkpoint(root: Path) -> None:
    """Write one more checkpoint, 1,000 steps after the last, of the same shape."""
    store = open_store(root)
    units = read_units(store)
    components = component_grid(32, 32, attention_bias=True)
    n_tasks, n_test = units["task"].n_unique(), int(units["n_test"][0])
    step = int(units["step"].max()) + 1000  # pyright: ignore[reportArgumentType, reportOperatorIssue]
    shape = Shape((step,), n_tasks, n_test, components)
    for task in list(TASKS)[:n_tasks]:
        write_units(store, *part(shape, step, task))


def part(shape: Shape, step: int, task: str) -> tuple[pa.Table, dict[str, pa.Table]]:
    """The 15 units of one step and task: their `units` rows, and their rows in the other tables."""
    seed = list(TASKS).index(task)
    n_labels, n_rows = TASKS[task], N_TRAIN + shape.n_test
    gold = np.arange(n_rows) % n_labels
    answers = _answers(shape, step, seed, gold, n_labels)
    keys = _keys(step, task)
    units = _table("units", keys, np.arange(15), {**_record(keys, n_labels), "n_test": np.full(15, shape.n_test)})
    examples = {
        "split": np.array(["train", "test"])[(np.arange(n_rows) >= N_TRAIN).astype(int)],
        "example_id": np.array([f"{i:05d}" for i in range(n_rows)]),
        "gold": gold,
    }
    tables = {
        "predictions": _predictions(shape, keys, examples, answers, n_labels, step),
        "component_scores": _component_scores(shape, keys, gold, answers, n_labels, step),
        "prompt_scores": _prompt_scores(shape, keys, gold, answers, step),
        "reweightings": _reweightings(shape, keys, step),
    }
    if shape.contributions:
        tables["contributions"] = _contributions(shape, keys, examples, n_labels, step)
    return units, tables


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng([*key])


def _answers(shape: Shape, step: int, seed: int, gold: np.ndarray, n_labels: int) -> np.ndarray:
    """What every component answers: (prompt, example, component) uint8."""
    n = len(shape.components)
    career = _rng(seed, 0)
    biased, onset = career.random(n) < 0.5, career.integers(500, 140_000, n)
    final = 1 / n_labels + career.random(n) ** 3 * (0.9 - 1 / n_labels)
    right = 1 / n_labels + (final - 1 / n_labels) / (1 + np.exp(-4 * np.log((step + 1) / onset)))
    rng = _rng(seed, 1, step)
    chance = np.clip(right + rng.normal(scale=0.02, size=(15, 1, n)), 0, 1)
    hit = rng.random((15, len(gold), n), dtype=np.float32) < chance
    wrong = (gold[:, None] + rng.integers(1, n_labels, n)) % n_labels
    answers = np.where(hit, gold[:, None], wrong).astype(np.uint8)
    answers[:, :, biased] = rng.integers(0, n_labels, (15, 1, biased.sum()), dtype=np.uint8)
    return answers


def _keys(step: int, task: str) -> dict[str, np.ndarray | list]:
    """One entry per unit."""
    prompts = [(template, seed) for template in TEMPLATES for seed in range(SEEDS)]
    fixed = {
        "model": "scale/6.9b",
        "revision": f"step{step}",
        "step": step,
        "tokens_seen": step * 2_097_152,
        "commit_sha": f"{step:040x}",
        "dtype": "float32",
        "control": "none",
        "task": task,
    }
    return {
        "unit_id": [f"{step}-{task}-{template}-{seed}" for template, seed in prompts],
        **{name: [value] * 15 for name, value in fixed.items()},
        "template": [template for template, _ in prompts],
        "demo_seed": [seed for _, seed in prompts],
        "n_shots": [4] * 15,
    }


def _record(keys: dict, n_labels: int) -> dict:
    return {
        "status": ["done"] * 15,
        "label_words": [" ".join(WORDS[:n_labels])] * 15,
        "content_hash": keys["commit_sha"],
        "flags": [[]] * 15,
        "forward_id": keys["unit_id"],
        "part": [part_id(keys["unit_id"])] * 15,
    }


def _table(name: str, keys: dict, unit: np.ndarray, columns: dict) -> pa.Table:
    """A table of the schema: the keys of each row's unit, and columns; others are null."""
    arrays = []
    for field in TABLES[name]:
        if field.name in keys:
            arrays.append(pa.array(keys[field.name], field.type).take(pa.array(unit)))
        elif field.name in columns:
            value = columns[field.name]
            arrays.append(value if isinstance(value, pa.Array) else pa.array(value, field.type))
        else:
            arrays.append(pa.nulls(len(unit), field.type))
    return pa.Table.from_arrays(arrays, schema=TABLES[name])


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """(row, length) as a list column."""
    offsets = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), kind))


def _predictions(shape: Shape, keys: dict, examples: dict, answers: np.ndarray, n_labels: int, step: int) -> pa.Table:
    n_rows = answers.shape[1]
    unit = np.repeat(np.arange(15), n_rows)
    names = " ".join(component.name for component in shape.components)
    columns = {
        **{
            name: pa.array(np.tile(value, 15), TABLES["predictions"].field(name).type)
            for name, value in examples.items()
        },
        "n_labels": np.full(len(unit), n_labels),
        "components": pa.repeat(names, len(unit)),
        "full": _full(shape, answers, step).reshape(-1),
        "predictions": _lists(answers.reshape(-1, answers.shape[2]), pa.uint8()),
    }
    return _table("predictions", keys, unit, columns)


def _contributions(shape: Shape, keys: dict, examples: dict, n_labels: int, step: int) -> pa.Table:
    n_rows = len(examples["gold"])
    unit = np.repeat(np.arange(15), n_rows)
    values = _rng(step, 9).standard_normal((len(unit), len(shape.components) * n_labels), np.float32)
    nothing = _lists(np.zeros((len(unit), n_labels), np.float32), pa.float32())
    columns = {
        **{
            name: pa.array(np.tile(value, 15), TABLES["contributions"].field(name).type)
            for name, value in examples.items()
        },
        "n_labels": np.full(len(unit), n_labels),
        "n_components": np.full(len(unit), len(shape.components)),
        "components": pa.repeat(" ".join(component.name for component in shape.components), len(unit)),
        "contributions": _lists(values, pa.float32()),
        "constant": nothing,
        "full": nothing,
    }
    return _table("contributions", keys, unit, columns)


def _full(shape: Shape, answers: np.ndarray, step: int) -> np.ndarray:
    """What the full model answers: (prompt, example), as the component in the middle does."""
    del step
    return answers[:, :, len(shape.components) // 2]


def _component_scores(
    shape: Shape, keys: dict, gold: np.ndarray, answers: np.ndarray, n_labels: int, step: int
) -> pa.Table:
    n = len(shape.components)
    parts = []
    for split, rows in (("train", slice(0, N_TRAIN)), ("test", slice(N_TRAIN, None))):
        answers_of_split = answers[:, rows]
        share = np.stack([(answers_of_split == label).mean(1) for label in range(n_labels)], -1).reshape(-1, n_labels)
        accuracy = (answers_of_split == gold[rows, None]).mean(1).reshape(-1)
        columns = {
            "split": pa.repeat(split, 15 * n),
            "component": pa.array([c.name for c in shape.components]).take(pa.array(np.tile(np.arange(n), 15))),
            "kind": pa.array([c.kind for c in shape.components]).take(pa.array(np.tile(np.arange(n), 15))),
            "layer": pa.array([c.layer for c in shape.components] * 15, pa.int32()),
            "head": pa.array([c.head for c in shape.components] * 15, pa.int32()),
            "accuracy": accuracy,
            "balanced_accuracy": accuracy,
            "mean_margin": _rng(step).normal(size=15 * n),
            "label_share": _lists(share, pa.float64()),
            "label_share_max": share.max(-1),
            "entropy": -(share * np.log2(np.where(share > 0, share, 1))).sum(-1),
            "n_examples": np.full(15 * n, answers_of_split.shape[1]),
        }
        parts.append(_table("component_scores", keys, np.repeat(np.arange(15), n), columns))
    return pa.concat_tables(parts)


def _prompt_scores(shape: Shape, keys: dict, gold: np.ndarray, answers: np.ndarray, step: int) -> pa.Table:
    test = slice(N_TRAIN, None)
    candidates = [i for i, c in enumerate(shape.components) if c.is_candidate]
    accuracy = (answers[:, test][:, :, candidates] == gold[test, None]).mean(1)
    full = (_full(shape, answers, step)[:, test] == gold[test]).mean(1)
    best, worst = accuracy.max(1), accuracy.min(1)
    methods = (
        ("full", "", 0, full),
        ("oracle_t1", "", 0, best),
        ("oracle_b1", "", 0, worst),
        ("heldout_t1", "split_half", 0, best - 0.02),
        ("comp_rw", "default", 24, best + 0.01),
        ("calib_plus", "default", 24, full + 0.01),
        ("heldout_t1", "train_rows", 24, best - 0.03),
    )
    parts = []
    for method, variant, n_labelled, values in methods:
        columns = {
            "split": ["test"] * 15,
            "method": [method] * 15,
            "variant": [variant] * 15,
            "n_labelled": [n_labelled] * 15,
            "accuracy": np.clip(values, 0, 1),
            "n_examples": [shape.n_test] * 15,
            "n_shots_used": [4] * 15,
            "fit_id": ["fit" if n_labelled else None] * 15,
        }
        parts.append(_table("prompt_scores", keys, np.arange(15), columns))
    return pa.concat_tables(parts)


def _reweightings(shape: Shape, keys: dict, step: int) -> pa.Table:
    names = [c.name for c in shape.components if c.is_candidate]
    n = len(names)
    weights = np.clip(_rng(step, 7).normal(1, 0.5, (15, n)), 0, None)
    columns = {
        "variant": pa.repeat("default", 15 * n),
        "n_labelled": np.full(15 * n, 24),
        "component": pa.array(names).take(pa.array(np.tile(np.arange(n), 15))),
        "weight": weights.reshape(-1),
        "train_loss": np.repeat(_rng(step, 8).random(15), n),
        "epochs": np.full(15 * n, 256),
        "stop_reason": pa.repeat("averaged over stops", 15 * n),
        "keeps_remainder": pa.repeat(True, 15 * n),
        "fit_id": pa.repeat("fit", 15 * n),
    }
    return _table("reweightings", keys, np.repeat(np.arange(15), n), columns)


def main(
    out: Path,
    steps: Annotated[int, typer.Option(help="the last so many of Pythia's 154")] = 154,
    tasks: Annotated[int, typer.Option(min=1, max=len(TASKS))] = len(TASKS),
    n_test: Annotated[int, typer.Option(help="test rows of a unit")] = 200,
    layers: int = 32,
    heads: int = 32,
    contributions: Annotated[bool, typer.Option(help="write them too, some 400 MB a step")] = False,
) -> None:
    """Write a results folder."""
    shape = Shape(steps_of(steps), tasks, n_test, component_grid(layers, heads, attention_bias=True), contributions)
    write(out, shape)
    typer.echo(f"{shape.n_rows:,} rows of component_scores in {len(shape.steps) * tasks} files: {out}")


if __name__ == "__main__":
    typer.run(main)
