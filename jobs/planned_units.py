"""The units of a plan as the table that a results folder keeps beside the plan's text."""

import pyarrow as pa

from dynamics.results.schema import PLANNED
from jobs.resolving import ResolvedPlan


def planned_units(resolved: ResolvedPlan) -> pa.Table:
    """The units with their keys and the ids of their fits, baselines and mechanisms; schema `PLANNED`."""
    of_all = [setting.fit_id for setting in (*resolved.plan.fits.all, *resolved.plan.baselines)]
    measured = dict(resolved.mechanisms)
    rows = [
        {**unit.keys, "fit_ids": of_all + [mechanism.fit_id for mechanism in measured.get(unit, ())]}
        for unit in resolved.units
    ]
    return pa.Table.from_pylist(rows, schema=PLANNED)
