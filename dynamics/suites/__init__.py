"""Suites of public checkpoints as data, one TOML file each: published steps, named grids, tokens per step."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Suite:
    """A suite of models whose checkpoints are published at the same steps.

    Attributes:
        name: of its file.
        tokens_per_step: training tokens of one optimiser step.
        grids: name -> steps, ascending.
        repositories: regular expression of a repository's id -> name of the grid that it has published.
    """

    name: str
    tokens_per_step: int
    grids: Mapping[str, tuple[int, ...]]
    repositories: Mapping[str, str]

    def published_steps(self, model: str) -> tuple[int, ...] | None:
        """The steps that a repository should have; None for a model of another suite."""
        grids = (grid for pattern, grid in self.repositories.items() if re.fullmatch(pattern, model))
        return next((self.grids[grid] for grid in grids), None)


@cache
def suites() -> tuple[Suite, ...]:
    """All suites, by name."""
    return tuple(read_suite(path) for path in sorted(Path(__file__).parent.glob("*.toml")))


def suite_of(model: str) -> Suite | None:
    """The suite that a repository belongs to, or None."""
    return next((suite for suite in suites() if suite.published_steps(model) is not None), None)


def read_suite(path: Path) -> Suite:
    """Read a suite's file; `pythia.toml` explains its keys."""
    content = tomllib.loads(path.read_text())
    return Suite(
        name=path.stem,
        tokens_per_step=content["tokens_per_step"],
        grids={name: _steps(entries) for name, entries in content["grids"].items()},
        repositories={entry["id"]: entry["published"] for entry in content["repositories"]},
    )


def _steps(entries: Sequence[int | Sequence[int]]) -> tuple[int, ...]:
    """Steps and ranges [from, to, every] as steps, ascending."""
    ranges = (range(e, e + 1) if isinstance(e, int) else range(e[0], e[1] + 1, e[2]) for e in entries)
    return tuple(sorted({step for steps in ranges for step in steps}))
