"""The page explains its terms in the words of the glossary."""

import re
from pathlib import Path

from figures.reading import TERMS


def test_the_terms_of_the_page_have_the_words_of_the_glossary() -> None:
    glossary = re.sub(r"[*`]", "", Path("docs/glossary.md").read_text())
    for term, meaning in TERMS.items():
        assert meaning.split(". ")[0] in glossary, term
