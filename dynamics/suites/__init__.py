"""Suites of public checkpoints as data, one TOML file each: repositories, names of revisions, steps, tokens, errata."""

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Known = Literal["read", "reported", "derived", "recalled"]
"""How a fact is known: read in the publisher's files or card, reported by others who read it, derived from such facts,
or recalled without a source at hand, which is not verified."""

Layout = Literal["revisions", "folders", "repositories"]


def _spelled_out(entries: object) -> object:
    """Steps and ranges [from, to, every] as steps, ascending."""
    if not isinstance(entries, list):
        return entries
    ranges = (range(e, e + 1) if isinstance(e, int) else range(e[0], e[1] + 1, e[2]) for e in entries)
    return tuple(sorted({step for steps in ranges for step in steps}))


StepList = Annotated[tuple[int, ...], BeforeValidator(_spelled_out)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Strict):
    """A part of a run whose checkpoints are named alike; a plan's `stage` names it, the first one is the default.

    Attributes:
        name: such as `stage2-ingredient1`.
        patterns: how its checkpoints are named (`dynamics.grids.name_pattern`).
        layout: what the patterns name: revisions; folders of one revision, `main`; or repositories, each at `main`.
        revisions: step -> branch, tag or commit, of checkpoints that no pattern names.
        tokens_per_step: training tokens of one optimiser step; None where the names tell, or nobody does.
        first_step, first_tokens: steps and training tokens before the stage, whose names count from 0 again.
        naming, tokens: how its names, and its tokens per step, are known.
    """

    name: str = "pretraining"
    patterns: tuple[str, ...] = ("step{step}",)
    layout: Layout = "revisions"
    revisions: dict[int, str] = {}
    tokens_per_step: int | None = None
    first_step: int = 0
    first_tokens: int = 0
    naming: Known = "read"
    tokens: Known = "read"

    @property
    def unverified(self) -> tuple[str, ...]:
        """What of it is only recalled."""
        facts = {"how its checkpoints are named": self.naming, "its tokens per step": self.tokens}
        return tuple(fact for fact, known in facts.items() if known == "recalled")


class Run(_Strict):
    """A model of a suite, or several that were trained and published alike.

    Attributes:
        ids: repositories on the Hub, one a model.
        parameters: of each, embeddings included.
        bytes_per_parameter: of the published weights.
        checkpoints: number of its first stage's, where it is known.
        published: steps that it should have: the name of a grid, or a list; None where the listing of its revisions is
            all that tells.
        stages: in the order of training; those of the suite where it has none of its own.
        note: one line for the list of suites.
    """

    ids: Annotated[tuple[str, ...], Field(min_length=1)]
    parameters: int
    bytes_per_parameter: int = 2
    checkpoints: int | None = None
    published: str | StepList | None = None
    stages: tuple[Stage, ...] = ()
    note: str = ""


class Erratum(_Strict):
    """A known fault of published checkpoints.

    Attributes:
        issue: where it was reported.
        model: repository, or a pattern with `*`.
        action: `quarantine`: left out unless the plan says otherwise; `equal`: the steps have the same weights, which
            is no fault of the files; `note`: reported only.
        text: one line.
        steps, ranges: the steps concerned, ranges as [from, to, every]; all where neither is given.
        sha256: beginnings of the wrong files' hashes: it holds only where one of the weights has it, so that a
            corrected upload is accepted.
    """

    issue: str
    model: str
    action: Literal["quarantine", "equal", "note"]
    text: str
    steps: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()
    sha256: tuple[str, ...] = ()


class Suite(_Strict):
    """A suite of models, as its file describes it.

    Attributes:
        name: of its file.
        title, licence, model_type: as people, its licence file and its configs say.
        good_for: what it is good for, in a line.
        sources: where its facts were read.
        refused: why it cannot be run; None where it can.
        grids: name -> steps of a named grid of its own; other suites have those of `dynamics.grids`.
        stages: of its runs.
        runs: its models.
        errata: what is known to be wrong.
    """

    name: str
    title: str
    licence: str
    model_type: str
    good_for: str
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    refused: str | None = None
    grids: dict[str, StepList] = {}
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(),)
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]
    errata: tuple[Erratum, ...] = ()

    def stages_of(self, model: str) -> tuple[Stage, ...]:
        """The stages of one of its models."""
        return self.run(model).stages or self.stages

    def run(self, model: str) -> Run:
        """The entry of one of its models."""
        return next(run for run in self.runs if model in run.ids)

    def published_steps(self, model: str) -> tuple[int, ...] | None:
        """The steps that a model should have; None where only the listing tells."""
        published = self.run(model).published
        return self.grids[published] if isinstance(published, str) else published


@cache
def suites() -> tuple[Suite, ...]:
    """All suites, by name."""
    return tuple(read_suite(path) for path in sorted(Path(__file__).parent.glob("*.toml")))


def suite_of(model: str) -> Suite | None:
    """The suite that a repository belongs to, or None."""
    return next((suite for suite in suites() if any(model in run.ids for run in suite.runs)), None)


def all_models() -> Iterator[str]:
    """The repositories of all suites."""
    return (model for suite in suites() for run in suite.runs for model in run.ids)


def read_suite(path: Path) -> Suite:
    """Read a suite's file; docs/suites.md explains how to write one."""
    return Suite.model_validate({"name": path.stem, **tomllib.loads(path.read_text("utf-8"))})
