"""Results of which every file is an hour old, so that what is computed from them is kept."""

from pathlib import Path

import pytest

from tests.stores import add_step, new_store, settle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Results of four checkpoints."""
    new_store(tmp_path / "out")
    for step in (1, 2, 4, 32):
        add_step(tmp_path / "out", step)
    settle(tmp_path / "out")
    return tmp_path / "out"
