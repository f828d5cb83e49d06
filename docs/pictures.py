"""`python docs/pictures.py FIGURES`: the pictures of the documentation, from a folder of drawn figures, made small.

`make pictures` draws them. A palette of 128 colours and a width of 1,200 pixels: below 100 kB each.
"""

import re
import sys
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
PAGE = PICTURES.parent / "reading-figures.md"
WIDTH, COLOURS = 1200, 128


def shown() -> list[str]:
    """The pictures that the page shows, by file name, in its order."""
    return re.findall(r"\]\(pictures/(\w+\.png)\)", PAGE.read_text())


def shrink(source: Path, target: Path) -> None:
    """Write a picture on white in few colours."""
    picture = Image.open(source).convert("RGB")
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    method, kmeans = Image.Quantize.MAXCOVERAGE, 4  # by k-means, else grey bands turn green
    picture.quantize(COLOURS, method, kmeans, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    for name in shown():
        shrink(Path(sys.argv[1]) / name, PICTURES / name)
