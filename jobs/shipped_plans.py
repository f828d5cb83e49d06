"""The plans in jobs/plans/, which commands also know by their bare names."""

from pathlib import Path

from dynamics.errors import PlanError, unknown

FOLDER = Path(__file__).with_name("plans")


def shipped_plans() -> list[str]:
    """Their names, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def plan_path(path: Path) -> Path:
    """The file of a plan: the path itself, else the shipped plan of that name.

    Raises:
        PlanError: there is neither.
    """
    if path.is_file():
        return path
    names = shipped_plans()
    name = path.name.removesuffix(".toml")
    if name in names and path.name == str(path):
        return FOLDER / f"{name}.toml"
    if path.is_dir():
        raise PlanError(f"{path} is a folder; give a plan: a TOML file, or a name from {', '.join(names)}")
    raise PlanError(
        f"{unknown('plan', name, names, shown=len(names))}, or the path of your own TOML file, which `pythia-emergence "
        f"plan init` writes (there is no file {path})"
    )
