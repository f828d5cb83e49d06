"""In-context learning: the texts of `sentiment`, labelled by two colours that each demonstration seed samples.

Only the demonstrations define which colour is which class, so accuracy without demonstrations is chance.
"""

from dynamics.tasks.reference import reference_task

TASK = reference_task("wordmap")
