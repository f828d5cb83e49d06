"""The embedded reference suite: its model id and the folder of its checkpoints."""

from pathlib import Path

MODEL_ID = "reference"


def checkpoints_dir() -> Path:
    """Folder of the embedded run: `step{n}/` for each checkpoint, and `manifest.json`."""
    return Path(__file__).parent / "checkpoints"
