"""In-context learning: the texts of `sentiment`, labelled by two colours that each demonstration seed draws anew.

Only the demonstrations tell which colour stands for which class, so no demonstration means chance.
"""

from dynamics.tasks.reference import reference_task

TASK = reference_task("wordmap")
