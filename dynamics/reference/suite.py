"""The embedded reference suite: its model id and the folder of its checkpoints."""

from pathlib import Path

from dynamics.errors import CheckpointError

MODEL_ID = "reference"


def check_embedded(model: str) -> None:
    """Check that a model that has no folder and is not named as on the Hub is the embedded one.

    Raises:
        CheckpointError: it is not.
    """
    if model != MODEL_ID:
        raise CheckpointError(
            f"model {model!r} has no folder in the plan; only {MODEL_ID!r} is embedded, and a model on the Hub is "
            'named owner/name. Add folder = "/path/to/checkpoints" to the model'
        )


def checkpoints_dir() -> Path:
    """Folder of the embedded run: `step{n}/` for each checkpoint, and `manifest.json`."""
    return Path(__file__).parent / "checkpoints"
