"""Controls: sweeps in which nothing can be known. How the `control` column names them, and labels that mean nothing.

- `random_init-<seed>`: the checkpoint's architecture with random weights (`dynamics.checkpoints.random_init`), and the
  task's rows and labels as they are. One for each model and seed, recorded as step 0, since it took no optimiser step.
  What is above chance here was not learnt in pretraining. (Paper, table 6.)
- `shuffled_labels-<seed>`: the checkpoint as it is, and the gold labels of all rows permuted before anything reads
  them. Demonstrations, training rows and test rows are drawn from the permuted rows, so that no label says anything of
  a text, nor a training label of a test label. What is above chance here got at the test labels in a way it must not.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dynamics.partition import task_rng
from dynamics.tasks import Row, Task, TaskRows

NONE = "none"
RANDOM_INIT = "random_init"
SHUFFLED_LABELS = "shuffled_labels"


def control_name(kind: str, seed: int) -> str:
    """A control as the `control` column has it: `shuffled_labels-3`."""
    return f"{kind}-{seed}"


def controlled_rows(task: Task, rows: TaskRows, control: str) -> TaskRows:
    """The rows that a unit under a control works on: those of the task, unless their labels are to be shuffled."""
    kind, _, seed = control.partition("-")
    return shuffled_labels(task, rows, int(seed)) if kind == SHUFFLED_LABELS else rows


def shuffled_labels(task: Task, rows: TaskRows, seed: int) -> TaskRows:
    """The rows with their gold labels permuted, in the pool and in the test split each.

    Texts, ids and the number of rows of each label stay as they are. A transfer task's pool is permuted as its
    lender's is, so that both still share their demonstrations.

    Args:
        task: whose rows they are.
        rows: all of them, so that rows are chosen by their new labels.
        seed: of the permutations, which are drawn apart from all else that is drawn for the task.
    """
    return replace(
        rows,
        pool=_permuted(rows.pool, task_rng(task, "shuffled pool labels", seed)),
        test=_permuted(rows.test, task_rng(replace(task, demonstrations_of=None), "shuffled test labels", seed)),
    )


def _permuted(rows: Sequence[Row], rng: np.random.Generator) -> tuple[Row, ...]:
    order = rng.permutation(len(rows))
    return tuple(replace(row, gold=rows[i].gold) for row, i in zip(rows, order, strict=True))
