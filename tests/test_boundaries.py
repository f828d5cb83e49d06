"""Boundaries: who imports whom, what is registered, what the wheel contains, what the docs name."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from pkgutil import resolve_name

import pytest

from analysis import ANALYSES
from analysis.curve_tables import TABLES
from dynamics.families import FAMILIES
from dynamics.tasks import TASKS
from figures.drawing import FIGURES

ROOT = Path(__file__).parents[1]
PACKAGES = ("dynamics", "jobs", "analysis", "figures")
MAY_IMPORT = {
    "dynamics": {"dynamics"},
    "jobs": {"jobs", "dynamics"},
    "analysis": {"analysis", "dynamics"},
    "figures": {"figures", "analysis", "dynamics"},
}
EXCEPTIONS = {"jobs/analyse.py": {"analysis"}}
"""File -> what it may import besides: that one lets a cluster compute an analysis, which itself knows no cluster."""
LIBRARIES = {
    "ray": {"jobs"},
    "matplotlib": {"figures"},
    "torch": {"dynamics", "jobs"},
    "transformers": {"dynamics", "jobs"},
}
TORCH_FREE = (
    "analysis", "figures", "jobs.plan", "jobs.derive", "jobs.status", "jobs.verify", "jobs.compact", "jobs.preflight",
    "jobs.preflight_text", "jobs.rescoring", "jobs.unit_states", "jobs.sweeping",
)  # fmt: skip
"""What reads results or plans; torch takes seconds to import and hundreds of megabytes."""
NOT_REGISTERED = {
    "analysis": {"curve_tables"},
    "figures": {
        "agreement", "captions", "drawing", "layout", "reading", "records", "report", "saving", "spec", "style",
        "summary", "training_axis",
    },
    "families": {"anatomy", "rotary"},
    "tasks": {"custom", "files", "groups", "reference", "rows", "sources", "split_files"},
}  # fmt: skip


def modules() -> list[Path]:
    """Every module of the four packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def path(module: str) -> Path:
    """The file of a module."""
    file = ROOT / module.replace(".", "/")
    return file / "__init__.py" if file.is_dir() else file.with_suffix(".py")


def statements(tree: ast.AST, *, when_imported: bool) -> Iterator[ast.AST]:
    """All import statements; `when_imported` leaves out those inside functions and for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if when_imported and (isinstance(node, ast.FunctionDef) or type_checking):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from statements(node, when_imported=when_imported)


def imported(path: Path, *, when_imported: bool = False) -> set[str]:
    """Names of all modules a file imports, and of what it imports from packages of ours."""
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text()), when_imported=when_imported):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module.split(".")[0] in PACKAGES:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def import_graph(*, when_imported: bool = False) -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports; a package only where something is taken from it itself."""
    files = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in modules()}
    return {name: (imported(p, when_imported=when_imported) & set(files)) - {name} for name, p in files.items()}


def circles(graph: dict[str, set[str]]) -> Iterator[tuple[str, ...]]:
    """The circles of an import graph, one at most."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield tuple(error.args[1])


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        top = name.split(".")[0]
        allowed = MAY_IMPORT[package] | EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), set())
        assert top not in PACKAGES or top in allowed, f"{package} may not import {name}"
        assert package in LIBRARIES.get(top, {package}), f"{package} may not import {name}"


def test_no_import_circles() -> None:
    modules_of = import_graph()
    assert list(circles(modules_of)) == []


def test_no_circles_between_folders_of_dynamics() -> None:
    """`dynamics.results.store` counts as `dynamics.results`: so one folder is above another, or they are apart."""

    def node(module: str) -> str:
        return ".".join(module.split(".")[:2])

    between: dict[str, set[str]] = {}
    for module, names in import_graph().items():
        between.setdefault(node(module), set()).update(node(name) for name in names)
    dynamics = {name: to - {name} for name, to in between.items() if name.startswith("dynamics.")}
    assert list(circles(dynamics)) == []


@pytest.mark.parametrize("module", TORCH_FREE)
def test_torch_free_by_construction(module: str) -> None:
    """Nothing that these import, directly or through others, imports torch or transformers when it is imported."""
    graph = import_graph(when_imported=True)
    names = [name for name in graph if name == module or name.startswith(f"{module}.")]
    assert names, module
    reached = set(names)
    while names:
        new = graph[names.pop()] - reached
        reached |= new
        names += new
    imports = {name: imported(path(name), when_imported=True) for name in reached}
    heavy = [name for name in sorted(reached) if {i.split(".")[0] for i in imports[name]} & {"torch", "transformers"}]
    assert heavy == []


def test_only_what_runs_on_a_cluster_imports_ray() -> None:
    users = {p.relative_to(ROOT).as_posix() for p in modules() if any(n.split(".")[0] == "ray" for n in imported(p))}
    assert users == {"jobs/analyse.py", "jobs/cluster.py", "jobs/executors.py", "jobs/metrics.py"}


def test_importing_analysis_and_figures_leaves_torch_and_ray_out() -> None:
    code = "import sys, analysis, figures\nsys.exit(' '.join({'torch', 'ray', 'transformers'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "registry"),
    [
        ("dynamics/families", FAMILIES),
        ("dynamics/tasks", TASKS),
    ],
)
def test_every_file_of_a_registry_is_registered(folder: str, registry: dict[str, str]) -> None:
    there = {p.stem for p in (ROOT / folder).glob("*.py") if not p.stem.startswith("__")}
    module = folder.replace("/", ".")
    expected = {f"{module}.{name}" for name in there - NOT_REGISTERED[folder.split("/")[-1]]}
    assert {target.split(":")[0] for target in registry.values()} == expected
    for name, target in registry.items():
        assert resolve_name(target) is not None, name


@pytest.mark.parametrize(
    ("folder", "functions"),
    [
        ("analysis", [*ANALYSES.values(), *(table.rows for table in TABLES.values())]),
        ("figures", [figure.draw for figure in FIGURES.values()]),
    ],
)
def test_every_analysis_and_figure_is_registered(folder: str, functions: list[Callable]) -> None:
    files = {p.stem for p in (ROOT / folder).glob("*.py") if not p.stem.startswith("__")}
    registered = {function.__module__ for function in functions if not isinstance(function, partial)}
    assert registered == {f"{folder}.{name}" for name in files - NOT_REGISTERED[folder]}


def test_the_wheel_holds_every_module_and_the_reference_suite(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a copy, since setuptools leaves a build folder whose leftovers join the next wheel
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    tracked = [p.relative_to(ROOT).as_posix() for p in modules()]
    assert set(tracked) <= names
    assert {
        "jobs/plans/reference.toml",
        "dynamics/suites/pythia.toml",
        "figures/report.html",
        "figures/explorer/explorer.css",
        "figures/explorer/explorer.html",
        "figures/explorer/main.js",
    } <= names
    assert "analysis/paper_dynamics.csv" in names
    assert "dynamics/reference/checkpoints/step0/model.safetensors" in names
    assert not {n for n in names if n.startswith("tests/")}
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    [scripts] = [wheel.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    assert "pythia-emergence = jobs.__main__:app" in scripts


def test_no_module_is_named_after_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    dependencies = {re.split(r"[\[<>=;~ ]", name)[0].lower().replace("-", "_") for name in named}
    assert not dependencies & {path.stem for path in modules()}


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().replace("_", "-").split()
    pins = {name.lower(): version for name, version in (line.split("==") for line in lines if "==" in line)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    for name in named:
        assert re.split(r"[\[<>=;~ ]", name)[0].lower() in pins, f"{name} has no pin"


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("jobs/*.md")]


def test_the_architecture_page_lists_every_module_with_its_first_line() -> None:
    listed = dict(re.findall(r"^ *- `([\w/]+\.py)`: (.*)$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE))
    files = [p for p in modules() if p.name != "__init__.py"]
    docstrings = {p.relative_to(ROOT).as_posix(): ast.get_docstring(ast.parse(p.read_text())) or "" for p in files}
    assert listed == {path: text.splitlines()[0] for path, text in docstrings.items()}


@pytest.mark.parametrize("page", sorted(p.relative_to(ROOT).as_posix() for p in PAGES))
def test_docs_name_only_what_exists(page: str) -> None:
    """Paths and modules in backquotes or links exist; `make` targets are in the Makefile."""
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert target in targets, target
    for module in re.findall(r"python -m ([a-z_.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for path in re.findall(r"`((?:dynamics|jobs|analysis|figures|tests|docs)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
