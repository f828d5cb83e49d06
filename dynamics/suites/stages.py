"""The stage of a run that a plan means, and what its model is called in the tables."""

from dynamics.errors import PlanError, unknown
from dynamics.suites import Layout, Stage, suite_of


def requested_stage(
    model: str, stage: str | None, pattern: str | None, layout: Layout = "revisions", *, unverified: bool = False
) -> Stage | None:
    """The stage of a model's suite that is meant; None where the model is of no suite, or a pattern is given instead.

    Args:
        model: its id on the Hub.
        stage: the stage's name; None for the first one.
        pattern, layout: how the plan says that checkpoints are named, in place of the suite.
        unverified: whether what is only recalled of the suite may be used.

    Raises:
        PlanError: the suite has no such stage, or one that is not verified; a model of no suite, or one
            whose pattern is given, has no stages.
    """
    suite = suite_of(model)
    if suite is None or pattern is not None or layout != "revisions":
        if stage is not None:
            what = "is of no known suite" if suite is None else "has its checkpoints named by `pattern`"
            raise PlanError(f"{model} {what}, so it has no stage {stage!r}; remove `stage`")
        return None
    stages = {known.name: known for known in suite.stages_of(model)}
    if stage is not None and stage not in stages:
        raise PlanError(unknown(f"stage of {model}", stage, stages))
    meant = stages[stage] if stage is not None else next(iter(stages.values()))
    if meant.unverified and not unverified:
        raise PlanError(
            f"{model} ({suite.title}): {' and '.join(meant.unverified)} could not be verified (dynamics/suites/"
            f"{suite.name}.toml gives its sources); check it and add unverified = true to the model, or give `pattern`"
        )
    return meant


def check_can_run(model: str) -> None:
    """Check that a model is not of a suite that cannot be run, whichever of its revisions is meant.

    Raises:
        PlanError: it is; says why.
    """
    suite = suite_of(model)
    if suite is not None and suite.refused is not None:
        raise PlanError(f"{model} ({suite.title}) cannot be run: {suite.refused}")


def name_in_tables(model: str, stage: str | None) -> str:
    """`owner/name` of a run's first stage, `owner/name@stage` of a later one: branches of a run are several runs."""
    suite = suite_of(model)
    is_first = stage is None or suite is None or stage == suite.stages_of(model)[0].name
    return model if is_first else f"{model}@{stage}"
