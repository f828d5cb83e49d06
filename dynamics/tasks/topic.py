"""Four topics in four fixed label words."""

from dynamics.reference.task import reference_task

TASK = reference_task("topic")
