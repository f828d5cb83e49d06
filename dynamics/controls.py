"""Controls: sweeps without pretraining, or with labels unrelated to their texts.

- `random_init-<seed>`: the checkpoint's architecture with random weights (`dynamics.checkpoints.random_init`), and the
  task's own rows and labels. One for each model and seed, recorded as step 0, since it took no optimiser step.
  Accuracy above chance was not learnt in pretraining. (Paper, table 6.)
- `shuffled_labels-<seed>`: the checkpoint's own weights, and the gold labels of all rows permuted before anything else
  uses them. Demonstrations, training rows and test rows come from the permuted rows, so labels are independent of
  texts, and training labels of test labels. Accuracy above chance means that test labels leaked into a prediction.
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
    """The name of a control in the `control` column, such as `shuffled_labels-3`."""
    return f"{kind}-{seed}"


def controlled_rows(task: Task, rows: TaskRows, control: str) -> TaskRows:
    """The rows of a unit: the task's own, with shuffled labels under that control."""
    kind, _, seed = control.partition("-")
    return shuffled_labels(task, rows, int(seed)) if kind == SHUFFLED_LABELS else rows


def shuffled_labels(task: Task, rows: TaskRows, seed: int) -> TaskRows:
    """The rows with their gold labels permuted, in the pool and in the test split separately.

    Texts, ids and label counts do not change. The pool of a transfer task is permuted like that of the task whose
    demonstrations it takes, so that both still share them.

    Args:
        task: the task of the rows.
        rows: all rows of the task, so that rows are selected by their new labels.
        seed: seed of the permutations, which have a random generator of their own.
    """
    return replace(
        rows,
        pool=_permuted(rows.pool, task_rng(task, "shuffled pool labels", seed)),
        test=_permuted(rows.test, task_rng(replace(task, demonstrations_of=None), "shuffled test labels", seed)),
    )


def _permuted(rows: Sequence[Row], rng: np.random.Generator) -> tuple[Row, ...]:
    order = rng.permutation(len(rows))
    return tuple(replace(row, gold=rows[i].gold) for row, i in zip(rows, order, strict=True))
