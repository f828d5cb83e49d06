"""The two libraries that the page contains: Vega, which draws, and DataTables, which sorts and pages tables.

Both come from installed packages, vl-convert-python and itables, so that nothing is fetched, when the page is made or
when it is opened, and versions are pinned as all others are.
"""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files

import vl_convert

from dynamics.errors import StoreError
from dynamics.results.places import Place, put, read

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def vega(cache: Place) -> str:
    """JavaScript that defines `vegaEmbed` on the window and nothing else.

    Putting it together takes seconds, so the text is kept in `cache`, named by what it is made of and with its checksum
    in its first line; one that is damaged is made again.
    """
    made_of = hashlib.sha256(f"{version('vl-convert-python')} {_SNIPPET}".encode()).hexdigest()[:16]
    kept = cache / f"vega-{made_of}.js"
    try:
        right, _, code = read(kept).partition(b"\n")
        if right.decode() == hashlib.sha256(code).hexdigest():
            return _in_script(code.decode())
    except (OSError, StoreError, ValueError):
        pass
    code = ("(() => {" + vl_convert.javascript_bundle(_SNIPPET) + "})();").encode()
    put(kept, hashlib.sha256(code).hexdigest().encode() + b"\n" + code)
    return _in_script(code.decode())


@lru_cache(maxsize=1)
def datatables() -> str:
    """A JavaScript module that exports jQuery with DataTables, `jQuery`."""
    return files("itables").joinpath("html/dt_bundle.js").read_text(encoding="utf-8")


def _in_script(code: str) -> str:
    """The code with what would end or disturb its script element written otherwise; the same strings and patterns."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
