"""The reference corpus: documents of English words, each a series of few-shot examples of one of three kinds.

A document repeats `text label .` in one format. Three kinds of document exist:

- `sentiment`: praising or complaining words, labelled `positive` or `negative`;
- `topic`: words of four topics, labelled `World`, `Sports`, `Business` or `Technology`;
- `wordmap`: the sentiment texts, labelled by two colours that are sampled for each document, so that only the document
  itself defines which colour is which class (in-context learning).

The rows of the reference tasks are sampled here too, from another random stream, so that prompts have the same form as
the documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


SENTIMENT_WORDS: Mapping[str, tuple[str, ...]] = {
    "negative": _words("awful boring clumsy dreadful dull gloomy hollow messy painful stale tedious weak"),
    "positive": _words("bright brilliant charming clever delightful fresh funny graceful lovely moving superb warm"),
}
TOPIC_WORDS: Mapping[str, tuple[str, ...]] = {
    "World": _words("ambassador border election minister parliament refugee treaty troops"),
    "Sports": _words("athlete championship coach goal league referee stadium striker"),
    "Business": _words("bank dividend earnings investor market merger profit shares"),
    "Technology": _words("browser chip database laptop network robot software startup"),
}
COLOURS = _words("amber black blue brown green grey orange pink purple red white yellow")
NEUTRAL_WORDS = _words("a about again and here in it now of so some that the then there this was with")
SEPARATOR = " . "

FORMATS: Mapping[str, Mapping[str, str]] = {
    "sentiment": {
        "plain": "{text} {label}",
        "cue": "{text} feels {label}",
        "buried": "{scattered} overall {label}",
    },
    "topic": {
        "plain": "{text} {label}",
        "cue": "{text} concerns {label}",
        "buried": "{scattered} mainly {label}",
    },
    "wordmap": {
        "plain": "{text} {label}",
        "cue": "{text} means {label}",
        "buried": "{scattered} hence {label}",
    },
}
KINDS = tuple(sorted(FORMATS))
FORMAT_NAMES = ("plain", "cue", "buried")
TEXT_LENGTH = 5
SCATTERED_LENGTH = 9
TRAINING_STREAM, TASK_STREAM = 0, 1
TASK_SEED, N_POOL, N_TEST = 1, 800, 400


@dataclass(frozen=True)
class Example:
    """One text of a kind, in two forms.

    Attributes:
        text: words of the class `gold` among neutral ones.
        scattered: the words of `text` in another order, among neutral words and words of another class.
        gold: index of the class.
    """

    text: str
    scattered: str
    gold: int

    @property
    def fields(self) -> dict[str, str]:
        """The fields that formats refer to."""
        return {"text": self.text, "scattered": self.scattered}


@dataclass(frozen=True)
class Mix:
    """Mixture of kinds and formats among training documents; probabilities in the order of the names.

    Attributes:
        kinds: probabilities of `KINDS` (sentiment, topic, wordmap).
        formats: probabilities of `FORMAT_NAMES` (plain, cue, buried).
    """

    kinds: tuple[float, ...] = (0.2, 0.2, 0.6)
    formats: tuple[float, ...] = (0.5, 0.25, 0.25)

    def __post_init__(self) -> None:
        for name, weights, n in (("kinds", self.kinds, len(KINDS)), ("formats", self.formats, len(FORMAT_NAMES))):
            if len(weights) != n or min(weights) < 0 or not np.isclose(sum(weights), 1.0):
                raise ValueError(f"mix of {name} is {weights}; give {n} probabilities that sum to 1")


def classes(kind: str) -> tuple[tuple[str, ...], ...]:
    """The word list of each class of a kind, in label order."""
    return tuple((TOPIC_WORDS if kind == "topic" else SENTIMENT_WORDS).values())


def label_words(kind: str) -> tuple[str, ...]:
    """The label words of a kind, in label order; for `wordmap` the colours, of which each document samples two."""
    return {"sentiment": tuple(SENTIMENT_WORDS), "topic": tuple(TOPIC_WORDS), "wordmap": COLOURS}[kind]


def vocabulary() -> tuple[str, ...]:
    """Every word that can occur in a document or prompt, sorted and unique."""
    words = {word for kind in KINDS for text_format in FORMATS[kind].values() for word in text_format.split()}
    words = {word for word in words if not word.startswith("{")} | {SEPARATOR.strip()} | set(NEUTRAL_WORDS)
    for kind in KINDS:
        words |= set(label_words(kind)) | {word for group in classes(kind) for word in group}
    return tuple(sorted(words))


def draw_example(kind: str, gold: int, rng: np.random.Generator) -> Example:
    """Sample a text of class `gold`.

    The text has 3 or 4 words of the class; its scattered form also has 1 to 3 words of one other class. So the majority
    of these words determines the class, except in a tie (3 against 3, one text in six): no model can have an accuracy
    above about .92 on the scattered form.
    """
    groups = classes(kind)
    text = _mixed(_draw(groups[gold], int(rng.integers(3, 5)), rng), TEXT_LENGTH, rng)
    other = (gold + int(rng.integers(1, len(groups)))) % len(groups)
    scattered = _mixed(text + _draw(groups[other], int(rng.integers(1, 4)), rng), SCATTERED_LENGTH, rng)
    return Example(" ".join(text), " ".join(scattered), gold)


def _draw(words: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """Sample n different words."""
    return [words[int(i)] for i in rng.permutation(len(words))[:n]]


def _mixed(class_words: list[str], length: int, rng: np.random.Generator) -> list[str]:
    """The words filled up with neutral words to a length, shuffled."""
    words = class_words + _draw(NEUTRAL_WORDS, length - len(class_words), rng)
    return [words[int(i)] for i in rng.permutation(length)]


def draw_labels(kind: str, rng: np.random.Generator) -> tuple[str, ...]:
    """The label word of each class for one document: fixed, or for `wordmap` two colours, sampled in random order."""
    words = label_words(kind)
    return tuple(_draw(words, len(classes(kind)), rng)) if kind == "wordmap" else words


def draw_document(mix: Mix, n_words: int, rng: np.random.Generator) -> str:
    """Sample a document of exactly `n_words` words: a kind, a format, labels, then examples.

    The last example is cut off at the end of the document.
    """
    kind = KINDS[rng.choice(len(KINDS), p=mix.kinds)]
    text_format = FORMATS[kind][FORMAT_NAMES[rng.choice(len(FORMAT_NAMES), p=mix.formats)]]
    labels = draw_labels(kind, rng)
    words: list[str] = []
    while len(words) < n_words:
        gold = int(rng.integers(len(labels)))
        example = draw_example(kind, gold, rng)
        filled = text_format.format(label=labels[gold], **example.fields)
        words.extend((filled + SEPARATOR).split())
    return " ".join(words[:n_words])


def training_documents(seed: int, step: int, n_documents: int, n_words: int, mix: Mix) -> list[str]:
    """The documents of one training step; they depend on the arguments only, so that a run can resume at any step.

    Args:
        seed: seed of the run.
        step: training step, counted from 1.
        n_documents: documents in the step.
        n_words: words (= tokens) in each document.
        mix: probabilities of kinds and formats.
    """
    rng = np.random.default_rng([TRAINING_STREAM, seed, step])
    return [draw_document(mix, n_words, rng) for _ in range(n_documents)]


def task_examples(kind: str) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The pool and the test examples of a task, always the same: from another random stream than the documents.

    Returns:
        `N_POOL` and `N_TEST` examples with the labels in turn (0, 1, ..., 0, 1, ...); no text occurs twice in both.
    """
    rng = np.random.default_rng([TASK_STREAM, TASK_SEED, KINDS.index(kind)])
    n_labels = len(classes(kind))
    by_text: dict[str, Example] = {}
    while len(by_text) < N_POOL + N_TEST:
        example = draw_example(kind, len(by_text) % n_labels, rng)
        by_text.setdefault(example.text, example)
    examples = tuple(by_text.values())
    return examples[:N_POOL], examples[N_POOL:]
