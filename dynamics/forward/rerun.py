"""Prompts of a set that are run again, whole and alone, to check its batched pass: extremes, middles, random ones."""

from itertools import chain

import numpy as np

from dynamics.forward.batching import batches
from dynamics.prompts import PromptSet

_SHARE = 1 / 64
"""Largest share of the tokens that a set's batches read, to be read again; its seconds are about 2 %."""
_FEWEST, _MOST = 3, 12


def prompts_to_rerun(prompts: PromptSet) -> list[int]:
    """Positions of the longest and the shortest prompt, of some in the middle of batches and of some others.

    At most 12, fewer where these would read more than a 64th of the tokens that the batches read, and at least 3. They
    depend on the prompts alone, whose hash is the seed of the drawn ones. The batches of a run do not count, since they
    depend on the memory that was free: the middles are those of the batches that an endless budget makes, one for each
    range of lengths that may share a batch, the one with most prompts first. Each is drawn from the prompts that are
    padded there.

    A fault that hits a share f of the prompts, of whatever lengths, is missed in a unit with probability (1 - f)^n for
    n prompts, in u units of a checkpoint, each of which draws its own, (1 - f)^(n u). So of 5 prompts, those of 2,000
    examples of SST-2 with 4 shots, f = .5 is missed in .03 of units and f = .1 in .59; in 15 units together f = .1 is
    missed with probability .0004 and f = .01 with .47.
    """
    lengths = [len(ids) for ids in prompts.own_ids]
    by_length = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    n_shared = len(prompts.shared_ids)
    affordable = int(_SHARE * (n_shared + sum(lengths)) / (n_shared + max(lengths)))
    random = np.random.default_rng(int(prompts.digest, 16))
    drawn = random.permutation(len(lengths)).tolist()
    middles = [shorter[random.integers(len(shorter))] for shorter in _padded(lengths)]
    order = chain(by_length[:1], by_length[-1:], middles[:1], drawn[:1], middles[1:2], drawn[1:2], middles[2:], drawn)
    return list(dict.fromkeys(order))[: min(max(affordable, _FEWEST), _MOST)]


def _padded(lengths: list[int]) -> list[list[int]]:
    """The prompts shorter than the longest of their batch, by batch of an endless budget, largest batch first."""
    groups = sorted(batches(lengths, 0, np.inf), key=len, reverse=True)
    padded = [[i for i in group if lengths[i] < lengths[group[0]]] for group in groups]
    return [shorter for shorter in padded if shorter]
