"""FitPlan: what K labels of a plan are used for, and how."""

from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field

from dynamics.errors import PlanError, unknown
from dynamics.methods.descent import FitSettings
from dynamics.methods.fits import Fit, heldout_fits
from dynamics.methods.variants import VARIANTS
from jobs.plan_values import Strict


def _variant(name: str) -> str:
    if name not in VARIANTS:
        raise ValueError(unknown("variant", name, VARIANTS))
    return name


VariantName = Annotated[str, AfterValidator(_variant)]


class FitDefinition(Strict):
    """A variant defined in the plan: a built-in one with other settings and another name."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    base: VariantName = "default"
    l1: Annotated[float, Field(ge=0)] | None = None
    max_epochs: Annotated[int, Field(ge=1)] | None = None

    @property
    def settings(self) -> FitSettings:
        """The base's settings, changed."""
        changes = {"l1": self.l1, "max_epochs": self.max_epochs}
        changes = {key: value for key, value in changes.items() if value is not None}
        return replace(VARIANTS[self.base].reweighting, variant=self.name, **changes)


class FitPlan(Strict):
    """Fits on a few labels: variants x numbers of labelled examples. Changing them runs no model."""

    n_labelled: tuple[Annotated[int, Field(ge=1)], ...] = (12, 24)
    variants: tuple[VariantName, ...] = ("default",)
    define: tuple[FitDefinition, ...] = ()

    @property
    def all(self) -> tuple[Fit, ...]:
        """Every fit of every unit.

        Raises:
            PlanError: two variants have the same name, or a number of labelled examples is given twice.
        """
        built_in = [(name, name, VARIANTS[name].reweighting) for name in self.variants]
        variants = built_in + [(defined.name, defined.base, defined.settings) for defined in self.define]
        names = [name for name, _, _ in variants]
        if len(set(names)) < len(names) or {defined.name for defined in self.define} & set(VARIANTS):
            raise PlanError(
                f"fits: variants {', '.join(names)} must have different names, and [[fits.define]] cannot use those of "
                f"built-in ones ({', '.join(VARIANTS)})"
            )
        if len(set(self.n_labelled)) < len(self.n_labelled):
            raise PlanError(f"fits: n_labelled = {list(self.n_labelled)} has a number twice; give each once")
        fits = [Fit(*variant, n_labelled=k) for variant in variants for k in self.n_labelled]
        return (*fits, *heldout_fits(fits))
