"""Praise or complaint, with two fixed label words, whose meaning the model learns in pretraining."""

from dynamics.tasks.reference import reference_task

TASK = reference_task("sentiment")
