"""Result stores with planted answers: every number in them is known beforehand."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from dynamics.components import component_grid
from dynamics.results.file_names import part_id
from dynamics.results.store import ResultStore, open_store, write_units
from dynamics.results.tables import table, unit_tables
from dynamics.unit_arrays import UnitArrays

COMPONENTS = component_grid(2, 4, attention_bias=False)
"""The embedding, then per layer four heads and an MLP: ten candidates."""
N_CANDIDATES = len(COMPONENTS) - 1
WORDS = ("no", "yes", "maybe", "never")


def new_store(root: Path) -> ResultStore:
    """An empty store."""
    return open_store(root, create=True)


def answering(right: Sequence[float], gold: np.ndarray, seed: int = 0) -> np.ndarray:
    """Labels (example, candidate) that candidates answer: right on the given share of rows, wrong on the others."""
    rng = np.random.default_rng(seed)
    hit = np.stack([rng.permutation(len(gold)) < round(share * len(gold)) for share in right], 1)
    return np.where(hit, gold[:, None], (gold[:, None] + 1) % (gold.max() + 1))


def add_unit(
    store: ResultStore,
    answers: np.ndarray,
    gold: np.ndarray,
    *,
    full: np.ndarray | None = None,
    logits: np.ndarray | None = None,
    scores: Sequence[Mapping[str, object]] = (),
    weights: Sequence[tuple[str, int, Sequence[float]]] = (),
    n_skipped: int = 0,
    groups: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    content_hash: str | None = None,
    contrasts_with: str | None = None,
    demonstrations_of: str | None = None,
    facts: Mapping[str, object] | None = None,
    **keys: object,
) -> None:
    """Write one unit whose candidates answer `answers` (example, candidate) and whose full model answers `full`.

    Args:
        logits: (example, part, label), the embedding first, in place of `answers`; the full model's are their sum.
        n_skipped: how many of the last examples did not fit the context.
        groups: example_id -> group of rows that belong together.
        flags, content_hash: of the checkpoint; a hash of its own unless given.
        scores: further rows of `prompt_scores`: method, and where they differ from the defaults variant, n_labelled...
        contrasts_with, demonstrations_of: what the task says of its templates and its demonstrations.
        facts: further columns of `units`.
        weights: (variant, n_labelled, one weight per candidate) of each fit.
        keys: what differs from the defaults: model, step, control, task, template, demo_seed, n_shots.
    """
    keys = {
        "model": "toy",
        "revision": "r",
        "step": 0,
        "tokens_seen": None,
        "commit_sha": "",
        "dtype": "float32",
        "control": "none",
        "task": "sst2",
        "template": "paper",
        "demo_seed": 0,
        "n_shots": 4,
        **keys,
    }
    keys["unit_id"] = "-".join(str(value) for value in keys.values())
    n_labels = int(gold.max()) + 1
    parts = np.eye(n_labels, dtype=np.float32)[np.column_stack([np.zeros(len(gold), int), answers])]
    whole = np.eye(n_labels, dtype=np.float32)[gold if full is None else full]
    if logits is not None:
        parts, whole = logits.astype(np.float32), logits.sum(1).astype(np.float32)
    n_run = len(gold) - n_skipped
    arrays = UnitArrays(
        keys=keys,
        components=COMPONENTS,
        split=["test"] * n_run,
        example_id=[f"{i:05d}" for i in range(n_run)],
        gold=gold[:n_run],
        contributions=parts[:n_run],
        constant=np.zeros(n_labels, np.float32),
        full=whole[:n_run],
        n_shots_used=4,
        skipped=[("test", f"{i:05d}", int(gold[i]), "too long") for i in range(n_run, len(gold))],
        groups=groups or {},
    )
    tables = unit_tables(arrays)
    rows = [_score_row(keys, row, len(gold)) for row in scores]
    tables["prompt_scores"] = pa.concat_tables([tables["prompt_scores"], *rows])
    if weights:
        tables["reweightings"] = pa.concat_tables([_weight_rows(keys, *fit) for fit in weights])
    record = {
        "status": ["done"],
        "label_words": [" ".join(WORDS[:n_labels])],
        "part": [part_id([keys["unit_id"]])],
        "flags": [list(flags)],
        "content_hash": [content_hash or f"{keys['model']}-{keys['step']}"],
        "contrasts_with": [contrasts_with],
        "demonstrations_of": [demonstrations_of],
    }
    record |= {name: [value] for name, value in (facts or {}).items()}
    write_units(store, table("units", keys, record), tables)


def _weight_rows(keys: Mapping[str, object], variant: str, n_labelled: int, weights: Sequence[float]) -> pa.Table:
    names = [component.name for component in COMPONENTS if component.is_candidate]
    shared = {"variant": variant, "n_labelled": n_labelled, "train_loss": 0.5, "epochs": 10}
    shared["keeps_remainder"] = variant == "default"
    return table("reweightings", {**keys, **shared}, {"component": names, "weight": weights})


def _score_row(keys: Mapping[str, object], row: Mapping[str, object], n_examples: int) -> pa.Table:
    row = {"split": "test", "variant": "", "n_labelled": 0, "n_examples": n_examples, "n_shots_used": 4, **row}
    return table("prompt_scores", keys, {name: [value] for name, value in row.items()})


def settle(root: Path) -> None:
    """Make all files look as if they were written an hour ago, as those of most results were."""
    for file in root.rglob("*"):
        if file.is_file():
            os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - 3600 * 10**9))


def add_step(root: Path, step: int) -> None:
    """Write a checkpoint under two prompts into a store."""
    store, gold = new_store(root), np.arange(40) % 2
    weights = [("default", 24, [1.0] * N_CANDIDATES)]
    for seed in (0, 1):
        answers = answering([min(0.95, 0.5 + step / 100)] * N_CANDIDATES, gold, seed + 7 * step)
        add_unit(store, answers, gold, step=step, demo_seed=seed, weights=weights)
