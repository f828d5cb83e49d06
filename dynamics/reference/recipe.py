"""The recipe of a reference run: everything that decides its weights."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from dynamics.reference.corpus import Mix

POWERS_OF_TWO = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
WHERE_TASKS_RISE = (48, 80, 88, 96, 112, 160, 288, 304, 320, 336, 352, 384)
CHECKPOINT_STEPS = (*sorted((*POWERS_OF_TWO, *WHERE_TASKS_RISE)), 768, 1024)


@dataclass(frozen=True)
class Recipe:
    """Architecture, optimiser, data and schedule of one pretraining run.

    Attributes:
        seed: of the initial weights and of the documents.
        steps: optimiser updates in all.
        checkpoint_steps: steps whose weights are kept, ascending; `steps` is the last one.
        documents, document_length: documents in a step, and words (= tokens) in each.
        label_weight: weight of a label token in the loss; every other token weighs 1.
        learning_rate, warmup_steps, final_fraction: peak rate, linear warm-up, and the fraction of the peak where the
            cosine ends.
    """

    seed: int = 0
    steps: int = CHECKPOINT_STEPS[-1]
    checkpoint_steps: tuple[int, ...] = CHECKPOINT_STEPS
    n_layers: int = 3
    n_heads: int = 4
    d_model: int = 64
    context: int = 256
    documents: int = 64
    document_length: int = 128
    mix: Mix = field(default_factory=Mix)
    label_weight: float = 5.0
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    final_fraction: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    gradient_clip: float = 1.0

    def __post_init__(self) -> None:
        kept = self.checkpoint_steps
        if self.steps < 1 or not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] != self.steps:
            raise ValueError(f"checkpoint steps {kept} must ascend from 0 or more and end at steps={self.steps} (>= 1)")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; give a whole number from 0 up")

    @property
    def tokens_per_step(self) -> int:
        """Tokens in the documents of one step; the same in every step."""
        return self.documents * self.document_length

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return json.loads(json.dumps(asdict(self)))


def recipe_from_json(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_json`."""
    plain = {f.name: _tuples(values[f.name]) for f in fields(Recipe) if f.name != "mix"}
    return Recipe(mix=Mix(**{name: tuple(weights) for name, weights in values["mix"].items()}), **plain)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def default_checkpoint_steps(steps: int) -> tuple[int, ...]:
    """The checkpoint steps of the default recipe that a run of `steps` updates reaches, and its last step."""
    return (*(step for step in CHECKPOINT_STEPS if step < steps), steps)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of update `step` (counted from 1): linear warm-up, then a cosine down to `final_fraction`."""
    if step <= recipe.warmup_steps:
        return recipe.learning_rate * step / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
    cosine = 0.5 * (1.0 + float(np.cos(np.pi * done)))
    return recipe.learning_rate * (recipe.final_fraction + (1.0 - recipe.final_fraction) * cosine)
