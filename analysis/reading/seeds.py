"""Which models are trainings of one another with another seed: PolyPythias' names, and any that follow them.

`pythia-160m-seed3` is `pythia-160m` with other initial weights and another order of the data, `-data-seed2` with
another order only, `-weight-seed1` with other weights only. The model without a suffix belongs to each of the three.
"""

import re
from collections.abc import Iterable

_SUFFIX = re.compile(r"-(?P<varies>(?:data-|weight-)?seed)\d+$")


def families(models: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """(base, what varies) -> its models, sorted, the base first; only where there are two or more.

    `varies` is `seed`, `data-seed` or `weight-seed`.
    """
    there = sorted(set(models))
    found: dict[tuple[str, str], list[str]] = {}
    for model in there:
        if match := _SUFFIX.search(model):
            found.setdefault((model[: match.start()], match["varies"]), []).append(model)
    with_base = {key: [key[0]] * (key[0] in there) + mine for key, mine in sorted(found.items())}
    return {key: mine for key, mine in with_base.items() if len(mine) > 1}
