"""The shipped reference suite: where its checkpoints lie, what is known of them, and whether they are intact."""

from functools import cache
from pathlib import Path

from dynamics.reference.manifest import Manifest, damaged_steps, read_manifest, step_folder

MODEL_ID = "reference"


def checkpoints_dir() -> Path:
    """The folder of the shipped run: `step{n}/` for each checkpoint, and `manifest.json`."""
    return Path(__file__).parent / "checkpoints"


@cache
def manifest() -> Manifest:
    """The manifest of the shipped run."""
    return read_manifest(checkpoints_dir())


def steps() -> tuple[int, ...]:
    """The steps that are shipped, ascending."""
    return manifest().steps


def tokens_seen(step: int) -> int:
    """Tokens the model was trained on before the checkpoint of this step."""
    return step * manifest().tokens_per_step


def checkpoint_dir(step: int) -> Path:
    """The folder of one checkpoint, which `from_pretrained` opens.

    Raises:
        ValueError: this step is not shipped.
    """
    if step not in steps():
        nearest = min(steps(), key=lambda known: abs(known - step))
        raise ValueError(f"the reference suite has no step {step}; it has {list(steps())}; the nearest is {nearest}")
    return step_folder(checkpoints_dir(), step)


def verify() -> None:
    """Check the weights of every shipped checkpoint against the manifest.

    Raises:
        ValueError: some are missing or changed; names their steps.
    """
    if damaged := damaged_steps(checkpoints_dir(), manifest()):
        raise ValueError(
            f"the reference checkpoints of steps {damaged} are missing or differ from their manifest; restore "
            f"{checkpoints_dir()} from the repository, or make the run again with `python -m jobs.pretrain`"
        )
