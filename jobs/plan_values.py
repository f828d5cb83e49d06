"""Types of values in plans, paths that count from the plan, and the base of tables: unknown keys are errors."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dynamics.errors import PlanError
from dynamics.paths import expand_home


def whole(value: object) -> object:
    """Whole numbers that are written as 1e9 as such."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, Field(ge=0)]
Tokens = Annotated[int, Field(ge=0), BeforeValidator(whole)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Shots = Annotated[int, Field(ge=0, le=1000)]
LocalPath = Annotated[Path, AfterValidator(expand_home)]


class Strict(BaseModel):
    """A table of a plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def from_plan(folder: Path, path: Path | None, key: str) -> Path | None:
    """A path of a plan, which counts from the plan's folder; an absolute one stays as it is.

    Raises:
        PlanError: there is nothing, but the working directory has it, as if paths counted from there.
    """
    if path is None:
        return None
    place = folder / path
    if not place.exists() and path.exists():
        raise PlanError(
            f"{key} = {str(path)!r}: there is no {place}, and a plan's paths count from the plan's folder; the working "
            f"directory has {path.absolute()}: give this path if it is meant"
        )
    return place
