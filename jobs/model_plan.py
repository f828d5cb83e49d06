"""ModelPlan: a model of a plan, which of its checkpoints are meant, and what its workers request."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from dynamics.grids import AtTokens, Steps
from dynamics.hub.names import split_name
from dynamics.paths import expand_home
from dynamics.suites import Layout
from dynamics.suites.stages import name_in_tables
from jobs.plan_values import Count, LocalPath, Strict, Tokens, whole


def _tokenizer(value: object) -> str | Path:
    """`owner/name@revision` as it is; anything without `@`, or that begins as paths do, as a path."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError('give "owner/name@revision" on the Hub, or a folder that holds tokenizer.json')
    if "@" not in value or value.startswith(("/", ".", "~")):
        return expand_home(Path(value))
    return "@".join(split_name(value))


MAX_NUMBERS = 10_000
"""Of a range of tokens."""


def _check_order(first: int, last: int) -> None:
    if last < first:
        raise ValueError(f"from {first:,} to {last:,} there is nothing; give the lower number first")


class StepRange(Strict):
    """Steps `from`, `from + every`, ... up to and including `to`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)

    first: Count = Field(alias="from")
    last: Count = Field(alias="to")
    every: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _some(self) -> Self:
        _check_order(self.first, self.last)
        return self


class TokenRange(Strict):
    """Numbers of training tokens `from`, `from + every`, ... up to and including `to`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)

    first: Tokens = Field(alias="from")
    last: Tokens = Field(alias="to")
    every: Annotated[int, Field(ge=1), BeforeValidator(whole)]

    @model_validator(mode="after")
    def _some_and_few(self) -> Self:
        _check_order(self.first, self.last)
        n = (self.last - self.first) // self.every + 1
        if n > MAX_NUMBERS:
            raise ValueError(f"means {n:,} numbers of tokens; give a larger `every`, for at most {MAX_NUMBERS:,}")
        return self


class Resources(Strict):
    """Resources that the worker of one checkpoint requests from a node; a model's replace the plan's.

    Attributes:
        num_cpus: also the worker's number of threads.
        num_gpus: a share of one GPU, as 0.25, or a whole number of them.
        memory_gb: resident memory to set aside, in 10^9 bytes; `pythia-emergence plan` says what a model takes.
        labels: label -> value that the node must have, `!value` that it must not, or `in(a, b)`.
        checkpoints_per_process: after how many a process ends; None: on GPUs a number by size, on CPUs never.
        autoscaled: whether the cluster may start nodes that have what no node has now.
    """

    num_cpus: Annotated[float, Field(gt=0)] = 1
    num_gpus: Annotated[float, Field(ge=0)] = 0
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    checkpoints_per_process: Annotated[int, Field(ge=1)] | None = None
    autoscaled: bool = False


class ModelPlan(Strict):
    """A model and its steps.

    Attributes:
        id: name in the tables; without a folder the Hub repository, or `reference`.
        folder: holds `step<n>` or `checkpoint-<n>` folders, or one model, recorded as step 1; where it holds both,
            `pattern` or `steps` say which are meant. Relative to the plan's folder.
        revision: branch of a Hub model without published steps, such as `main`; recorded as step 1.
        tokens_per_step: training tokens per step, where neither the suite nor the revision's name tells.
        steps: `all`, `log`, another named grid of its suite (`dynamics/suites/`), a list, or `{ from, to, every }`;
            `finished` for the folder's own model.
        tokens: in place of steps: for each number of training tokens the nearest checkpoint, as [1e9, 1e10], or
            `{ from, to, every }`.
        stage: of a run of a suite, by its name; the first if left out. Steps count from the start of the run.
        unverified: whether what is only recalled of a suite may be used.
        pattern: how checkpoints are named, such as `stage1-step{step}-tokens{n}B`, where no suite tells.
        layout: what `pattern` names: revisions, folders of one revision (`revision`, or main), or repositories.
        allow_pickle: whether `.bin` weights are used where there is no safetensors.
        missing: whether steps without a revision, or without usable weights, are an error or skipped.
        quarantined: whether steps known to be wrong are skipped or run.
        tokenizer: of all steps, in place of their own: `owner/name@revision` on the Hub, or a folder with
            tokenizer.json, relative to the plan's folder.
        resources: replaces the plan's.
    """

    id: Annotated[str, Field(min_length=1)]
    folder: LocalPath | None = None
    revision: str | None = None
    tokens_per_step: Annotated[int, Field(ge=1)] | None = None
    steps: str | StepRange | Annotated[tuple[Count, ...], Field(min_length=1)] = "all"
    tokens: TokenRange | Annotated[tuple[Tokens, ...], Field(min_length=1)] | None = None
    stage: str | None = None
    unverified: bool = False
    pattern: str | None = None
    layout: Layout = "revisions"
    allow_pickle: bool = False
    missing: Literal["refuse", "skip"] = "refuse"
    quarantined: Literal["skip", "run"] = "skip"
    tokenizer: Annotated[str | Path, BeforeValidator(_tokenizer)] | None = None
    resources: Resources | None = None

    @model_validator(mode="after")
    def _by_steps_or_tokens(self) -> Self:
        if self.tokens is not None and "steps" in self.model_fields_set:
            raise ValueError("has both steps and tokens; give one of them")
        return self

    @property
    def name(self) -> str:
        """Its name in the tables: its id, with the stage where that is a later one."""
        return name_in_tables(self.id, self.stage)

    @property
    def requested(self) -> Steps:
        """The steps, or numbers of tokens, that are meant."""
        if self.tokens is not None:
            return AtTokens(_spelled_out(self.tokens))
        return _spelled_out(self.steps) if isinstance(self.steps, StepRange) else self.steps


def _spelled_out(values: StepRange | TokenRange | tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of a range, or a list as it is."""
    return values if isinstance(values, tuple) else tuple(range(values.first, values.last + 1, values.every))
