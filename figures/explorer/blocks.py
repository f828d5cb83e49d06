"""Blocks: numbers of (step, component) as text in a page, exact where they are shares of a known number of rows.

    value = minimum + unit * q        q: whole, below 2^(8 * n_bytes) - 1; that number itself stands for no value

Shares are whole multiples of 1 / (prompts x rows x the parts of a tie), so q is exact for them. Other numbers are off
by at most half a unit, a 2^25th of their range. A step is stored as its difference from the step before, folded to
whole numbers from 0 up (0, -1, 1, -2, ...), byte by byte: all low bytes, then the higher ones, deflated and in base64.
"""

import math
import zlib
from base64 import b64encode
from dataclasses import dataclass

import numpy as np

MAX_BYTES = 3
WHOLE = 1e-6
"""Distance from a whole number that counts as rounding: sums of shares are off by less, other numbers by more."""


@dataclass(frozen=True)
class Block:
    """An array (step, component) as text.

    Attributes:
        minimum, unit: the value of q = 0, and of one more.
        n_bytes: bytes of a q.
        text: base64 of the deflated bytes.
    """

    minimum: float
    unit: float
    n_bytes: int
    text: str


def encode(values: np.ndarray, denominator: int = 0) -> Block | None:
    """An array as a block; None where it has no value at all.

    Args:
        values: (step, component), NaN where there is none.
        denominator: what shares are multiples of one over; 0 where they are not shares.
    """
    if np.isnan(values).all():
        return None
    minimum, unit, n_bytes = _scale(values, denominator)
    none = 256**n_bytes - 1
    q = np.where(np.isnan(values), none, np.rint((np.nan_to_num(values) - minimum) / unit)).astype(np.int64)
    planes = _planes(_folded_differences(q, none + 1), n_bytes)
    return Block(minimum, unit, n_bytes, b64encode(zlib.compress(planes, 6)).decode())


def share_denominator(n_prompts: int, n_examples: int, n_labels: int) -> int:
    """What a mean share over prompts is a multiple of one over: a tie of n labels counts 1/n."""
    return n_prompts * n_examples * math.lcm(*range(1, n_labels + 1))


def _scale(values: np.ndarray, denominator: int) -> tuple[float, float, int]:
    """(minimum, unit, bytes): exact where all values are multiples of 1 / denominator."""
    known = values[~np.isnan(values)]
    if 0 < denominator < 256**MAX_BYTES - 1 and known.min() >= 0 and known.max() <= 1:
        multiples = known * denominator
        if np.abs(multiples - np.rint(multiples)).max() < WHOLE:
            return 0.0, 1 / denominator, 2 if denominator < 256**2 - 1 else MAX_BYTES
    low, high = float(known.min()), float(known.max())
    return low, ((high - low) or 1.0) / (256**MAX_BYTES - 2), MAX_BYTES


def _folded_differences(q: np.ndarray, modulus: int) -> np.ndarray:
    """Differences along steps, the shorter way round the modulus, as 0, -1, 1, -2, ... -> 0, 1, 2, 3, ..."""
    differences = np.diff(q, axis=0, prepend=0)
    shorter = (differences + modulus // 2) % modulus - modulus // 2
    return np.where(shorter >= 0, 2 * shorter, -2 * shorter - 1)


def _planes(numbers: np.ndarray, n_bytes: int) -> bytes:
    return b"".join(((numbers >> 8 * i) & 255).astype(np.uint8).tobytes() for i in range(n_bytes))
