"""Types of values in plans, and the base of their tables: unknown keys are errors."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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
