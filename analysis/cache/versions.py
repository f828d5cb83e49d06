"""Versions of what computes a table: the source of the code and the libraries, as one hash that nobody has to raise."""

import hashlib
import sys
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import scipy

ROOT = Path(__file__).parents[2]
_SOURCES = (".py", ".csv", ".toml")


@cache
def code_hash(*packages: str) -> str:
    """A hash of all source files of packages, and of the versions of Python, Polars, NumPy and SciPy.

    All of a package counts, not what a table happens to need of it: a table that is made again is not wrong.

    Args:
        packages: those whose code computes; `analysis` and `dynamics` unless given.
    """
    digest = hashlib.sha256(" ".join((sys.version, pl.__version__, np.__version__, scipy.__version__)).encode())
    for package in packages or ("analysis", "dynamics"):
        for path in sorted(path for path in (ROOT / package).rglob("*") if path.suffix in _SOURCES):
            digest.update(f"\n{path.relative_to(ROOT).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


code_hash()  # when this is imported: the code that runs is that of then, whatever is edited meanwhile
