"""What is said twice agrees: versions, paths and pictures in the Dockerfile, RayJob, workflow, citation and docs."""

import re
import tomllib
from pathlib import Path

import yaml

from docs.pictures import PAGE, PICTURES, shown

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KUBERAY = (ROOT / "jobs/kuberay/sweep.yaml").read_text()
LEAST_PYTHON = PROJECT["requires-python"].removeprefix(">=")


def minor(version: str) -> tuple[int, ...]:
    """`3.11` as a tuple that compares."""
    return tuple(map(int, version.split(".")))


def test_the_image_installs_only_what_is_pinned() -> None:
    installs = re.findall(r"pip install (.*?)(?<!\\)\n", DOCKERFILE, re.DOTALL)
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)
    (python,) = re.findall(r"ARG PYTHON=(\S+)", DOCKERFILE)
    assert minor(python) >= minor(LEAST_PYTHON)
    assert "USER 1000\n" in DOCKERFILE


def test_the_image_gets_every_package_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert "*" in lines
    assert copied == allowed
    assert {name for name in packages if "." not in name} == {name for name in copied if (ROOT / name).is_dir()}
    assert all((ROOT / name).exists() for name in copied)


def test_the_rayjob_has_the_pinned_ray_and_a_command_that_is_there() -> None:
    job = yaml.safe_load(KUBERAY)
    cluster = job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert cluster["rayVersion"] == PINS["ray"]
    assert cluster["authOptions"] == {"mode": "token"}
    module = re.fullmatch(r"python -m ([\w.]+) /\S+ --out /\S+", job["spec"]["entrypoint"])
    assert module is not None
    assert (ROOT / module[1].replace(".", "/")).with_suffix(".py").exists()
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len({pod["template"]["spec"]["containers"][0]["image"] for pod in pods}) == 1


def test_the_workflow_runs_the_checks_on_pythons_that_are_allowed() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["checks"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    versions = job["strategy"]["matrix"]["python"]
    assert versions
    assert all(isinstance(version, str) and minor(version) >= minor(LEAST_PYTHON) for version in versions)


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"] == PROJECT["name"]
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    cited = {reference["url"].rsplit("/", 1)[1] for reference in citation["references"]}
    assert cited == {"2406.13131", "2304.01373"}
    assert all(f"arXiv {paper}" in (ROOT / "README.md").read_text() for paper in cited)


def test_pictures_are_those_of_the_page_small_and_drawn_by_make() -> None:
    there = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert set(there) == set(shown())
    assert max(there.values()) < 100_000
    (listed,) = re.findall(r"^PICTURES := (.*?)(?<!\\)\n", (ROOT / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    assert {f"{name}.png" for name in listed.replace("\\\n", " ").split()} == set(shown())


def test_every_figure_of_the_reading_page_is_named_in_its_heading() -> None:
    sections = PAGE.read_text().split("\n## ")
    for section in sections:
        for name in re.findall(r"\]\(pictures/(\w+)\.png\)", section):
            assert f"`{name}`" in section.splitlines()[0]


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"(?:root|file): (\S+)", (ROOT / "docs/_toc.yml").read_text()))
    pages = {
        p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("docs/*") if p.suffix in {".md", ".ipynb"}
    }
    assert listed == pages | {"README", "CONTRIBUTING", "CHANGELOG", "jobs/README"}
