"""Four topics in four fixed label words."""

from dynamics.tasks.reference import reference_task

TASK = reference_task("topic")
