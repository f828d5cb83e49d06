"""The known suites of checkpoints, in words: models, sizes, stages, and what is not verified."""

from collections.abc import Iterator

from dynamics.suites import Run, Suite, suites

_N_SHOWN = 4


def suite_lines() -> Iterator[str]:
    """All suites, as `plan --suites` lists them."""
    for suite in suites():
        yield f"{suite.title} ({suite.model_type}, {suite.licence}): {suite.good_for}"
        if suite.refused is not None:
            yield f"  cannot be run: {suite.refused}"
        for run in suite.runs:
            yield from _run_lines(suite, run)
    yield 'a plan\'s `id` is one of these; steps = "all", "paper", "dense", "log", a list or a range; or `tokens`'


def _run_lines(suite: Suite, run: Run) -> Iterator[str]:
    first, *others = run.ids
    more = f" and {len(others)} more" if len(others) > 1 else "".join(f" and {other}" for other in others)
    count = "" if run.checkpoints is None else f", {run.checkpoints:,} checkpoints"
    gigabytes = run.parameters * run.bytes_per_parameter / 1e9
    yield f"  {first}{more}: {run.parameters / 1e6:,.0f} M parameters{count}, {gigabytes:.2g} GB each" + (
        f"; {run.note}" if run.note else ""
    )
    later = [stage.name for stage in suite.stages_of(run.ids[0])]
    if len(later) > 1:
        rest = f" and {len(later) - _N_SHOWN} more" if len(later) > _N_SHOWN else ""
        yield f"    stages: {', '.join(later[:_N_SHOWN])}{rest}"
    unverified = sorted({fact for stage in suite.stages_of(run.ids[0]) for fact in stage.unverified})
    if unverified and suite.refused is None:
        yield f"    not verified, so refused without unverified = true: {' and '.join(unverified)}"
