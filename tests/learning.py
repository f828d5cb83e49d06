"""Simulated answers: components and a full model that learn at known times, or never, as steps store them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.reading.answers import AnswerReader, CommonPrompts, StepAnswers
from analysis.reading.groups import Group
from analysis.statistics.onset import log2_steps

STEPS = (0, 1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 160, 256, 512, 1024)


@dataclass(frozen=True)
class Design:
    """A sweep of one task.

    Attributes:
        learns_at: per component, log2 of the step at which half of the answers are known; infinity never learns.
        full_at: the same of the full model.
        n_templates, n_seeds, n_examples, n_labels: of the sweep; every template has every seed.
        of_template, of_seed, of_prompt, of_example: SDs of what shifts `learns_at`, in doublings, shared by all
            components and the full model except for the share `own`.
        of_answer: SD of what shifts single answers.
        known: accuracy where the answer is known.
        persistence: probability that a guess is the one of the step before.
        forgotten: step -> the share of known answers that is guessed there, of components and of the full model.
        random_templates: whether templates shift `learns_at` at random, from sweep to sweep, as seeds do.
    """

    learns_at: tuple[float, ...] = (6.0, 6.3, 6.6, 7.5, np.inf, np.inf)
    full_at: float = 6.7
    n_templates: int = 3
    n_seeds: int = 5
    n_examples: int = 200
    n_labels: int = 2
    of_template: float = 0.3
    of_seed: float = 0.3
    of_prompt: float = 0.2
    of_example: float = 0.8
    of_answer: float = 0.6
    own: float = 0.4
    known: float = 0.96
    persistence: float = 0.7
    forgotten: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    random_templates: bool = False

    @property
    def common(self) -> CommonPrompts:
        """The prompts and examples that every step has."""
        prompts = tuple(f"t{t}/{s}" for t in range(self.n_templates) for s in range(self.n_seeds))
        ids = tuple(f"{i:05d}" for i in range(self.n_examples))
        group = Group("simulated", "float32", "none", "toy", 4)
        return CommonPrompts(group, STEPS, prompts, ids, dict.fromkeys(STEPS, len(prompts)))


def simulate(design: Design, seed: int) -> dict[int, StepAnswers]:
    """One sweep's answers by step; the full model is simulated like one more component."""
    rng = np.random.default_rng(seed)
    common = design.common
    gold = (np.arange(design.n_examples) % design.n_labels).astype(np.uint8)
    learns_at = np.array([*design.learns_at, design.full_at])
    known_from = learns_at + _shifts(design, rng, len(learns_at))
    shape = known_from.shape
    wrong = (gold[:, None] + rng.integers(1, design.n_labels, shape)) % design.n_labels
    known = np.where(rng.random(shape) < design.known, gold[:, None], wrong).astype(np.uint8)
    guess = rng.integers(0, design.n_labels, shape, np.uint8)
    answers = {}
    for step, position in zip(STEPS, log2_steps(STEPS), strict=True):
        keeps_guess = rng.random(shape) < design.persistence
        guess = np.where(keeps_guess, guess, rng.integers(0, design.n_labels, shape, np.uint8))
        is_known = position > known_from
        if step in design.forgotten:
            of_components, of_full = design.forgotten[step]
            is_known &= rng.random(shape) >= [*[of_components] * len(design.learns_at), of_full]
        labels = np.where(is_known, known, guess)
        names = tuple(f"L0H{i}" for i in range(len(design.learns_at)))
        answers[step] = StepAnswers(
            common.group, step, None, common.prompts, names, common.example_id, gold, design.n_labels,
            labels[..., :-1], None, labels[..., -1], None,
        )  # fmt: skip
    return answers


def reader(answers: dict[int, StepAnswers]) -> AnswerReader:
    """Simulated answers as `analysis.statistics.curves.component_curves` reads them."""

    def read(steps: Sequence[int]) -> Iterator[StepAnswers]:
        return (answers[step] for step in steps)

    return read


def _shifts(design: Design, rng: np.random.Generator, n: int) -> np.ndarray:
    """(prompt, example, component) shifts of the time of learning."""
    t, s, e = design.n_templates, design.n_seeds, design.n_examples

    def both(sd: float, shape: Sequence[int]) -> np.ndarray:
        shared, single = rng.normal(0, sd, (*shape, 1)), rng.normal(0, sd, (*shape, n))
        return np.sqrt(1 - design.own) * shared + np.sqrt(design.own) * single

    fixed = np.linspace(-1, 1, t)[:, None, None, None] * design.of_template
    template = both(design.of_template, (t, 1, 1)) if design.random_templates else fixed
    seed = both(design.of_seed, (1, s, 1))
    prompt = both(design.of_prompt, (t, s, 1))
    example = both(design.of_example, (1, 1, e))
    answer = rng.normal(0, design.of_answer, (t, s, e, n))
    return (template + seed + prompt + example + answer).reshape(t * s, e, n)
