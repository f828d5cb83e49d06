"""Steps in a folder: its step folders, by their names and training states, or the folder as one model. No torch."""

import json
from dataclasses import replace
from pathlib import Path

from dynamics.checkpoint_files import weight_files
from dynamics.errors import CheckpointError, PlanError
from dynamics.grids import DEFAULT_PATTERN, FINISHED, StepName, Steps, as_stage, steps_by_name, tokens_at

ITSELF = "finished"
"""The value of `steps` that means a folder's own model, where it has step folders too."""

_PATTERNS = (DEFAULT_PATTERN, "checkpoint-{step}", "global_step{step}", "iter_{step}")
"""Of this project and Pythia, of a Trainer, of GPT-NeoX and DeepSpeed, and of converted Megatron checkpoints."""


def steps_in(model: str, root: Path, steps: Steps | None, pattern: str | None) -> tuple[Path, dict[int, StepName]]:
    """The steps of a folder, and the folder that holds theirs.

    A folder with a model of its own and no step folders is one step, `FINISHED`. Beside step folders, as a Trainer
    leaves them, `pattern` and `steps` mean these; without either there are two readings. A folder that is named like a
    step is refused, since it would become step 1. A step is that of the folder's `trainer_state.json`, where its name
    says another.

    Args:
        model: the model's id, whose suite tells tokens.
        root: the folder.
        steps: as in a plan; `finished` means the folder's own model.
        pattern: how step folders are named; None for `step{step}` or `checkpoint-{step}`.

    Raises:
        CheckpointError: there are neither step folders nor a model.
        PlanError: two readings remain, two folders are the same step, the folder is itself a step of another, or the
            pattern is malformed.
    """
    if not root.is_dir():
        raise CheckpointError(f"{root} is not a folder; give a folder that contains step<n> or checkpoint-<n> folders")
    itself = root.resolve().parent, {FINISHED: StepName(FINISHED, root.resolve().name, None)}
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    by_pattern = {p: steps_by_name(model, names, p) for p in (_PATTERNS if pattern is None else (pattern,))}
    steps_of = {p: in_order for p, in_order in by_pattern.items() if in_order}
    with_files = [p for p in steps_of if any(_is_checkpoint(root / name.name) for name in steps_of[p].values())]
    if steps == ITSELF:
        if pattern is not None:
            raise PlanError(
                f'steps = "{ITSELF}" means the model in {root} itself, and pattern its step folders; remove one of them'
            )
        return itself
    if len(with_files) > 1:
        raise PlanError(_two_readings(root, [_folders(steps_of[p], p) for p in with_files]))
    has_model = (root / "config.json").is_file() and any(weight_files(root, kind) for kind in ("safetensors", "bin"))
    if with_files and has_model and pattern is None and steps in (None, "all"):
        raise PlanError(_two_readings(root, [_own_model(), _folders(steps_of[with_files[0]], with_files[0])]))
    may_be_model = (root / "config.json").is_file() or bool(weight_files(root, "gguf"))
    if steps_of and (with_files or not may_be_model or pattern is not None):
        chosen = (with_files or list(steps_of))[0]
        return root, _by_training_state(model, root, steps_of[chosen], chosen)
    if may_be_model and pattern is None:
        here = root.absolute()  # links in its path stay as they were given
        if any(steps_by_name(model, [here.name], p) for p in _PATTERNS):
            raise PlanError(
                f"{root} is one checkpoint by its name; give the folder that holds it, {here.parent}, with a "
                f'list of steps where only some are meant, or steps = "{ITSELF}" to run it as a finished model'
            )
        return itself
    other = f"; it holds a model itself: leave `pattern` out to run that as step {FINISHED}" if may_be_model else ""
    raise CheckpointError(
        f"{root} contains no {pattern or 'step<n> or checkpoint-<n>'} folder; check the folder and `pattern`{other}"
    )


def _is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds some of a checkpoint's files, so that its name is no coincidence."""
    return (folder / "config.json").exists() or any(weight_files(folder, k) for k in ("safetensors", "gguf", "bin"))


def _own_model() -> str:
    return f'the model in the folder itself (steps = "{ITSELF}")'


def _folders(names: dict[int, StepName], pattern: str) -> str:
    first, last = names[min(names)].name, names[max(names)].name
    return f'{first if first == last else f"{first} to {last}"} (pattern = "{pattern}")'


def _two_readings(root: Path, readings: list[str]) -> str:
    return f"{root} can be read in two ways: {' or '.join(readings)}; add to the model the one that is meant"


def _by_training_state(model: str, root: Path, names: dict[int, StepName], pattern: str) -> dict[int, StepName]:
    """The steps by `global_step` of each folder's `trainer_state.json`, where there is one; others by their names.

    Raises:
        PlanError: two folders are the same step.
    """
    steps_of: dict[int, StepName] = {}
    for name in sorted(names.values(), key=lambda name: name.step):
        step = _global_step(root / name.name)
        actual = name
        if step is not None and step != name.step:
            actual = replace(
                name,
                step=step,
                tokens_seen=name.tokens_seen if "{n}" in pattern else tokens_at(as_stage(model, pattern), step),
                note=f"its name says step {name.step}, its trainer_state.json step {step}, which is used",
            )
        if actual.step in steps_of:
            raise PlanError(
                f"{root} has {steps_of[actual.step].name} and {name.name} for step {actual.step} by their "
                "trainer_state.json; move one of the two elsewhere"
            )
        steps_of[actual.step] = actual
    return steps_of


def _global_step(folder: Path) -> int | None:
    """The step in a Trainer's state; None where there is no such file, or another one of this name."""
    try:
        step = json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if type(step) is int and step >= 0 else None
