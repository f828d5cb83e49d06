"""Rendering: the same picture as PNG, SVG and PDF, the same bytes for the same input."""

from io import BytesIO

from matplotlib import rc_context
from matplotlib.figure import Figure

METADATA: dict[str, dict[str, None] | None] = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Format -> metadata that are left out of it: the time it was made."""


def rendered(name: str, figure: Figure) -> dict[str, bytes]:
    """A figure in every format of `METADATA`: file name -> bytes.

    The layout is solved once, so that all formats show the same and only one pays for it.
    """
    if figure.axes and (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    files = {}
    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        # No engine at all, which None means under these settings: with one, even "none", each format is drawn twice.
        figure.set_layout_engine(None)
        for suffix, metadata in METADATA.items():
            buffer = BytesIO()
            figure.savefig(buffer, format=suffix, metadata=metadata)
            files[f"{name}.{suffix}"] = buffer.getvalue()
    return files
