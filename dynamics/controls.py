"""Controls: sweeps without pretraining, with labels unrelated to their texts, or with other demonstrations.

- `random_init-<seed>`: the checkpoint's architecture with random weights (`dynamics.checkpoints.random_init`), and the
  task's own rows and labels. One for each model and seed, recorded as step 0, since it took no optimiser step.
  Accuracy above chance was not learnt in pretraining. (Paper, table 6.)
- `shuffled_labels-<seed>`: the checkpoint's own weights, and the gold labels of all rows permuted before anything else
  uses them. Demonstrations, training rows and test rows come from the permuted rows, so labels are independent of
  texts, and training labels of test labels. Accuracy above chance means that test labels leaked into a prediction.
- `permuted_demonstrations-<seed>`: every label in the demonstrations is replaced by another one, the same for all
  examples of a label: y by y + 1 + (seed modulo n_labels - 1), modulo n_labels. Scored against the true labels, what
  follows the demonstrations falls below chance, what knows the label words' meaning stays. With two labels all seeds
  are the same. (Halawi et al., arXiv 2307.09476.)
- `abstract_labels-<seed>`: label words without a meaning for the task, of a list that the plan gives and drawn by
  demonstration seed, in demonstrations and as answers. Only what reads the demonstrations can know which is which: task
  learning, as against task recognition. (Pan et al., arXiv 2305.09731.)

The last two need demonstrations; there are no units of them without.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dynamics.errors import PromptError
from dynamics.partition import Selection, task_rng
from dynamics.tasks import Row, Task, TaskRows, Template

NONE = "none"
RANDOM_INIT = "random_init"
SHUFFLED_LABELS = "shuffled_labels"
PERMUTED_DEMONSTRATIONS = "permuted_demonstrations"
ABSTRACT_LABELS = "abstract_labels"
SHUFFLED_DEMONSTRATIONS = "shuffled_demonstrations"
"""The labels of the demonstrations permuted among them; for function vectors, no control of its own."""
OF_DEMONSTRATIONS = (PERMUTED_DEMONSTRATIONS, ABSTRACT_LABELS)
"""Controls that change what demonstrations say."""


def control_name(kind: str, seed: int) -> str:
    """The name of a control in the `control` column, such as `shuffled_labels-3`."""
    return f"{kind}-{seed}"


def controlled_rows(task: Task, rows: TaskRows, control: str) -> TaskRows:
    """The rows of a unit: the task's own, with shuffled labels under that control."""
    kind, _, seed = control.partition("-")
    return shuffled_labels(task, rows, int(seed)) if kind == SHUFFLED_LABELS else rows


def controlled_selection(task: Task, selection: Selection, control: str) -> Selection:
    """The rows of a prompt set: with other labels in the demonstrations, under the controls that say so."""
    kind, _, seed = control.partition("-")
    if kind == SHUFFLED_DEMONSTRATIONS:
        shuffled = _permuted(selection.demonstrations, task_rng(task, "shuffled demonstrations", int(seed)))
        return replace(selection, demonstrations=shuffled)
    if kind != PERMUTED_DEMONSTRATIONS:
        return selection
    shift = 1 + int(seed) % (task.n_labels - 1)
    shots = tuple(replace(row, gold=(row.gold + shift) % task.n_labels) for row in selection.demonstrations)
    return replace(selection, demonstrations=shots)


def abstract_template(task: Task, template: Template, words: Sequence[str], demo_seed: int, seed: int) -> Template:
    """The template with label words drawn from a list, for `abstract_labels-<seed>`.

    Raises:
        PromptError: there are fewer words than labels.
    """
    if len(words) < task.n_labels:
        raise PromptError(
            f"task {task.name} has {task.n_labels} labels and abstract_label_words has {len(words)} words; give one or "
            "more for each label"
        )
    drawn = task_rng(task, f"abstract label words {seed}", demo_seed).choice(len(words), task.n_labels, replace=False)
    return replace(template, label_words=tuple(words[i] for i in drawn))


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
