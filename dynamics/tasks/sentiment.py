"""Praise or complaint in two fixed label words: what the words mean is learnt in the weights."""

from dynamics.tasks.reference import reference_task

TASK = reference_task("sentiment")
