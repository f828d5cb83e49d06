"""Families of models that differ in a training seed only: PolyPythias' names, and any that follow them.

`pythia-160m-seed3` is `pythia-160m` with other initial weights and another order of the data, `-data-seed2` with
another order only, `-weight-seed1` with other weights only. The model without a suffix is in all three families.
"""

import re
from collections.abc import Iterable

_SUFFIX = re.compile(r"-(?P<varies>(?:data-|weight-)?seed)\d+$")


def families(models: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """(base, what varies) -> its models, sorted, the base first; only where there are two or more.

    `varies` is `seed`, `data-seed` or `weight-seed`.
    """
    names = sorted(set(models))
    with_suffix: dict[tuple[str, str], list[str]] = {}
    for model in names:
        if match := _SUFFIX.search(model):
            with_suffix.setdefault((model[: match.start()], match["varies"]), []).append(model)
    with_base = {key: [key[0]] * (key[0] in names) + members for key, members in sorted(with_suffix.items())}
    return {key: members for key, members in with_base.items() if len(members) > 1}
