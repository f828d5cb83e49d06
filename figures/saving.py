"""One layout, every format: the same picture as PNG, SVG and PDF, the same bytes for the same input."""

from pathlib import Path

from matplotlib.figure import Figure

METADATA: dict[str, dict[str, None] | None] = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Format -> what is left out of it: the time it was made."""


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure in every format of `METADATA`: `folder/name.png`, ...

    The layout is solved once and kept, so that all formats show the same and none pays for it again.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    written = []
    for suffix, metadata in METADATA.items():
        path = folder / f"{name}.{suffix}"
        figure.savefig(path, metadata=metadata)
        written.append(path)
    return written
