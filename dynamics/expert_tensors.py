"""Experts of a mixture: files hold a matrix for each, an opened model one parameter for all of them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import product

from torch import Tensor

_STORED = re.compile(r"(?P<layer>.*\.experts)\.(?P<expert>\d+)\.(?P<kind>gate|up|down)_proj\.weight")
_FUSED = {"gate_up_proj": ("gate", "up"), "down_proj": ("down",)}
"""Parameter of all experts -> the matrices of each expert that it holds."""


def whole_experts(names: Iterable[str], parameters: Mapping[str, Tensor], prefix: str) -> set[str]:
    """The parameters of all experts that a file holds whole, each matrix of each expert.

    Args:
        names: of the tensors in a file.
        parameters: of the model, by name; those of experts have them as their first axis.
        prefix: that names in the file may lack.
    """
    stored: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for match in filter(None, map(_STORED.fullmatch, names)):
        stored[match["layer"]].add((match["kind"], int(match["expert"])))
    whole = set()
    for (layer, held), (fused, kinds) in product(stored.items(), _FUSED.items()):
        name = next((form for form in (f"{layer}.{fused}", f"{prefix}{layer}.{fused}") if form in parameters), None)
        if name is not None and held >= set(product(kinds, range(len(parameters[name])))):
            whole.add(name)
    return whole
