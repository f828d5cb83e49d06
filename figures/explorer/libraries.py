"""The two libraries that the page contains: Vega, which draws, and DataTables, which sorts and pages tables.

Both come from installed packages, vl-convert-python and itables, so that nothing is fetched, when the page is made or
when it is opened, and versions are pinned as all others are.
"""

from functools import lru_cache
from importlib.resources import files

import vl_convert


@lru_cache(maxsize=1)
def vega() -> str:
    """JavaScript that defines `vegaEmbed` on the window and nothing else."""
    return _in_script("(() => {" + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") + "})();")


@lru_cache(maxsize=1)
def datatables() -> str:
    """A JavaScript module that exports jQuery with DataTables, `jQuery`."""
    return files("itables").joinpath("html/dt_bundle.js").read_text(encoding="utf-8")


def _in_script(code: str) -> str:
    """The code with what would end or disturb its script element written otherwise; the same strings and patterns."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
