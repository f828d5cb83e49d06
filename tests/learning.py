"""Simulated answers: components and a full model that learn at known times, or never, as steps store them.

With a label bias, label logits are simulated: `strength * 1[y = answer] + bias_y`, with a strength for each answer
(mean 1) and a bias for each step, seed, component and label. Answers are the largest logit, and `centred` the largest
less each label's mean over the test rows. The bias of a step is the same in every sweep, as a checkpoint's is. Gaps, by
which ties between components go, are those of the logits; without logits random, the same at all steps of a sweep.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.reading.answers import AnswerReader, CommonPrompts, StepAnswers
from analysis.reading.groups import Group
from analysis.reading.logits import StepLogits
from analysis.statistics.onset import log2_steps
from dynamics.label_bias import centred

STEPS = (0, 1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 160, 256, 512, 1024)
BIAS_KEPT = 0.7
"""Correlation of the label biases of neighbouring steps."""
SETTLES, SETTLED = 128, 0.25
"""From this step on the label bias is this share of what it was: the reference suite's wanders before it settles."""
ByStep = dict[int, StepAnswers]


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
        bias: SD of the label bias, which wanders from step to step; 0 simulates no logits.
        components_biased: whether components have a label bias too, or the full model alone.
        of_seed_bias: SD of what each seed adds to it, at all steps.
        logits_grow: label logits, bias and all, are multiplied by 1 at the first step, by 1 + this at the last; linear
            in log2 of steps between.
        gold_shares: share of rows and of guesses of each label; empty where all have the same.
        rows_alike: size of the groups of rows that have one label and are answered alike.
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
    bias: float = 0.0
    components_biased: bool = True
    of_seed_bias: float = 0.3
    logits_grow: float = 0.0
    gold_shares: tuple[float, ...] = ()
    rows_alike: int = 1

    @property
    def n_texts(self) -> int:
        """Number of rows that are not answered alike."""
        return self.n_examples // self.rows_alike

    @property
    def shape(self) -> tuple[int, int, int]:
        """(prompt, text, component), the full model as the last component."""
        return self.n_templates * self.n_seeds, self.n_texts, len(self.learns_at) + 1

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(f"L0H{i}" for i in range(len(self.learns_at)))

    @property
    def gold(self) -> np.ndarray:
        """(text,) label indices."""
        if not self.gold_shares:
            return (np.arange(self.n_texts) % self.n_labels).astype(np.uint8)
        ends = np.round(np.cumsum(self.gold_shares) * self.n_texts)
        return np.searchsorted(ends, np.arange(self.n_texts), side="right").astype(np.uint8)

    @property
    def common(self) -> CommonPrompts:
        """The prompts and examples that every step has."""
        prompts = tuple(f"t{t}/{s}" for t in range(self.n_templates) for s in range(self.n_seeds))
        ids = tuple(f"{i:05d}" for i in range(self.n_examples))
        group = Group("simulated", "float32", "none", "toy", 4)
        return CommonPrompts(group, STEPS, prompts, ids, dict.fromkeys(STEPS, len(prompts)))


def simulate(design: Design, seed: int) -> ByStep:
    """One sweep's answers by step; the full model is simulated like one more component."""
    return simulate_both(design, seed)[0]


def simulate_both(design: Design, seed: int) -> tuple[ByStep, ByStep]:
    """One sweep's answers as they are and less the label bias, the same where none is simulated."""
    in_logits = _Logits(design, seed) if design.bias else None
    gaps = np.random.default_rng([seed, 2]).random(design.shape[::2])
    raw, less_bias = {}, {}
    for i, (step, labels) in enumerate(_answers_by_step(design, seed)):
        both = ((labels, gaps),) * 2 if in_logits is None else in_logits.answers(labels, i)
        raw[step], less_bias[step] = (_step_answers(design, step, *answered) for answered in both)
    return raw, less_bias


def simulate_logits(design: Design, seed: int) -> Iterator[StepLogits]:
    """The label logits of the same sweep, of components and of the full model, which is not their sum; no fits."""
    in_logits = _Logits(design, seed)
    for i, (step, labels) in enumerate(_answers_by_step(design, seed)):
        logits = np.repeat(in_logits.values(labels, i), design.rows_alike, axis=1)
        yield StepLogits(step, design.components, logits[..., :-1, :], logits[..., -1, :], {})


def _answers_by_step(design: Design, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Every step and its answers without bias (prompt, text, component)."""
    rng, gold, shape = np.random.default_rng(seed), design.gold, design.shape
    learns_at = np.array([*design.learns_at, design.full_at])
    known_from = learns_at + _shifts(design, rng, len(learns_at))
    wrong = (gold[:, None] + rng.integers(1, design.n_labels, shape)) % design.n_labels
    known = np.where(rng.random(shape) < design.known, gold[:, None], wrong).astype(np.uint8)
    guess = _guesses(design, rng, shape)
    for step, position in zip(STEPS, log2_steps(STEPS), strict=True):
        keeps_guess = rng.random(shape) < design.persistence
        guess = np.where(keeps_guess, guess, _guesses(design, rng, shape))
        is_known = position > known_from
        if step in design.forgotten:
            of_components, of_full = design.forgotten[step]
            is_known &= rng.random(shape) >= [*[of_components] * len(design.learns_at), of_full]
        yield step, np.where(is_known, known, guess)


class _Logits:
    """Label logits of one sweep: strengths of its answers, and the label bias at every step."""

    def __init__(self, design: Design, seed: int) -> None:
        shape = design.shape
        rng, of_checkpoints = np.random.default_rng([seed, 1]), np.random.default_rng(0)
        n, n_labels = shape[-1], design.n_labels
        self.strength = rng.gamma(4, 1 / 4, shape).astype(np.float32)
        of_seed = rng.normal(0, design.of_seed_bias, (design.n_seeds, n, n_labels)).astype(np.float32)
        self.of_prompt = np.tile(of_seed, (design.n_templates, 1, 1))[:, None]
        innovations = of_checkpoints.normal(0, design.bias, (len(STEPS), n, n_labels)).astype(np.float32)
        wandering = [innovations[0]]
        for innovation in innovations[1:]:
            wandering.append(BIAS_KEPT * wandering[-1] + np.float32(np.sqrt(1 - BIAS_KEPT**2)) * innovation)
        share = np.where(np.array(STEPS) < SETTLES, 1, SETTLED).astype(np.float32)
        self.of_step = np.stack(wandering) * share[:, None, None]
        axis = log2_steps(STEPS)
        self.scale = (1 + design.logits_grow * (axis - axis[0]) / np.ptp(axis)).astype(np.float32)
        if not design.components_biased:
            self.of_step[:, :-1], self.of_prompt[..., :-1, :] = 0, 0

    def answers(self, labels: np.ndarray, step: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Answers and gaps as they come out with the bias, and less each label's mean logit; arguments of `values`."""
        logits = self.values(labels, step)
        less_bias = np.stack([centred(of_prompt) for of_prompt in logits])
        return tuple((values.argmax(-1).astype(np.uint8), _gaps(values)) for values in (logits, less_bias))

    def values(self, labels: np.ndarray, step: int) -> np.ndarray:
        """Label logits (prompt, text, component, label).

        Args:
            labels: (prompt, text, component) answers without bias.
            step: index of the step.
        """
        logits = self.strength[..., None] * (labels[..., None] == np.arange(self.of_step.shape[-1]))
        return self.scale[step] * (logits + (self.of_prompt + self.of_step[step]))


def _gaps(logits: np.ndarray) -> np.ndarray:
    """Mean gap of the two largest logits (prompt, text, component, label): (prompt, component)."""
    ordered = np.sort(logits, -1)
    return (ordered[..., -1] - ordered[..., -2]).mean(1)


def _guesses(design: Design, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if not design.gold_shares:
        return rng.integers(0, design.n_labels, shape, np.uint8)
    return rng.choice(design.n_labels, shape, p=design.gold_shares).astype(np.uint8)


def _step_answers(design: Design, step: int, labels: np.ndarray, gaps: np.ndarray) -> StepAnswers:
    """Answers (prompt, text, component) to all rows, and gaps (prompt, component), the full model last."""
    common, n = design.common, design.rows_alike
    groups = tuple(f"g{i // n}" for i in range(design.n_examples)) if n > 1 else ()
    labels, gold = np.repeat(labels, n, axis=1), np.repeat(design.gold, n)
    return StepAnswers(
        common.group, step, None, common.prompts, design.components, common.example_id, gold, design.n_labels,
        labels[..., :-1], None, labels[..., -1], None, gaps[:, :-1], groups,
    )  # fmt: skip


def reader(answers: ByStep) -> AnswerReader:
    """Simulated answers as `analysis.statistics.curves.component_curves` reads them."""

    def read(steps: Sequence[int]) -> Iterator[StepAnswers]:
        return (answers[step] for step in steps)

    return read


def _shifts(design: Design, rng: np.random.Generator, n: int) -> np.ndarray:
    """(prompt, example, component) shifts of the time of learning."""
    t, s, e = design.n_templates, design.n_seeds, design.n_texts

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
