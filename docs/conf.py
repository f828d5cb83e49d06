"""Sphinx: the Markdown files of the repository as a site, each at its own path, so that their links work in both.

`make docs` builds it. Every link to a page, a heading or a file of the repository has to resolve, and the tutorial is
run; what goes wrong ends the build. The pages load nothing from elsewhere, and their search works from disk.
"""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "pythia-emergence"
html_title = project
extensions = ["myst_nb", "sphinx_external_toc"]
external_toc_path = "docs/_toc.yml"
external_toc_exclude_missing = True
include_patterns = ["*.md", "docs/**", "jobs/README.md"]
exclude_patterns = [".[!.]*", "build", "demo", "results", "tests"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"
html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]


def setup(app: Sphinx) -> None:
    """Pygments has no lexer of this name."""
    app.add_lexer("csv", TextLexer)
