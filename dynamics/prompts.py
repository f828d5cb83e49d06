"""Demonstrations + template -> token ids, with guards against the ways a prompt goes silently wrong."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from dynamics.errors import PromptError
from dynamics.partition import PARTITION_SEED as PARTITION_SEED
from dynamics.partition import rng_of, select_rows
from dynamics.tasks import Row, Task, TaskRows, Template


@dataclass(frozen=True)
class PromptSet:
    """One (task, template, demonstration seed, number of shots) as token ids, ready to run.

    Attributes:
        task, template, demo_seed, n_shots: what it is.
        label_words: (label,) text of each label, without the leading space.
        label_ids: (label,) its one token.
        shared_ids: tokens that every example begins with, the demonstrations; may be empty.
        own_ids: (example,) the tokens after them; never empty.
        split: (example,) `train` or `test`; training rows come first, in the order of which K takes a prefix.
        example_id: (example,).
        gold: (example,) label index.
        shares_pool: whether the pool was too small for demonstrations and training rows of its own.
    """

    task: str
    template: str
    demo_seed: int
    n_shots: int
    label_words: tuple[str, ...]
    label_ids: tuple[int, ...]
    shared_ids: tuple[int, ...]
    own_ids: tuple[tuple[int, ...], ...]
    split: tuple[str, ...]
    example_id: tuple[str, ...]
    gold: tuple[int, ...]
    shares_pool: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.own_ids), len(self.split), len(self.example_id), len(self.gold)}
        if len(sizes) != 1 or not all(self.own_ids) or len(self.label_ids) != len(self.label_words):
            raise ValueError(f"{self.task}/{self.template}: examples and labels do not agree in number")

    def token_ids(self, example: int) -> tuple[int, ...]:
        """The whole prompt of one example."""
        return self.shared_ids + self.own_ids[example]

    @property
    def digest(self) -> str:
        """Hash (16 hex) of everything the model is given and everything it is scored on."""
        parts = (self.label_ids, self.shared_ids, self.own_ids, self.split, self.example_id, self.gold)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def build_prompts(
    task: Task,
    template: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    demo_seed: int,
    n_shots: int,
    n_test: int,
    n_train: int = 0,
    rows: TaskRows | None = None,
    max_length: int | None = None,
) -> PromptSet:
    """Choose rows, write the prompts, and tokenise each one whole.

    Args:
        task: rows, label words and templates.
        template: name of one of its templates.
        tokenizer: of the model that will read the prompts.
        demo_seed: chooses demonstrations and training rows (and label words, where the task draws them).
        n_shots: demonstrations before each example; label-balanced, the last two with different labels if possible.
        n_test: test examples, label-balanced; all the split has where it has fewer.
        n_train: labelled training examples run beside them, for reweighting.
        rows: the task's rows, where they are loaded already.
        max_length: the model's context in tokens.

    Raises:
        PromptError: a label word is not one token here, a prompt ends in a bare space or does not fit the context,
            or a class has no rows.
    """
    rows = rows or task.load(None)
    chosen = select_rows(task, rows, demo_seed=demo_seed, n_shots=n_shots, n_test=n_test, n_train=n_train)
    words = label_words(task, demo_seed)
    pattern = task.template(template)
    examples = chosen.train + chosen.test
    texts = [prompt_text(task, pattern, chosen.demonstrations, row, words) for row in examples]
    where = f"task {task.name}, template {template}"
    label_ids = _label_ids(tokenizer, texts[0], words, where)
    token_ids = _tokenise(tokenizer, texts, [words[row.gold] for row in examples], label_ids, words, where)
    longest = max(map(len, token_ids))
    if max_length is not None and longest > max_length:
        raise PromptError(
            f"{where}: the longest prompt has {longest} tokens and the model reads {max_length}; "
            f"lower n_shots ({n_shots})"
        )
    shared = _common_prefix(token_ids)
    return PromptSet(
        task=task.name,
        template=template,
        demo_seed=demo_seed,
        n_shots=n_shots,
        label_words=words,
        label_ids=label_ids,
        shared_ids=token_ids[0][:shared],
        own_ids=tuple(ids[shared:] for ids in token_ids),
        split=("train",) * len(chosen.train) + ("test",) * len(chosen.test),
        example_id=tuple(row.example_id for row in examples),
        gold=tuple(row.gold for row in examples),
        shares_pool=chosen.shares_pool,
    )


def label_words(task: Task, demo_seed: int) -> tuple[str, ...]:
    """The word of each label; drawn by the demonstration seed where the task has a pool of words."""
    if len(task.label_words) == task.n_labels:
        return task.label_words
    drawn = rng_of(task, "label words", demo_seed).choice(len(task.label_words), task.n_labels, replace=False)
    return tuple(task.label_words[i] for i in drawn)


def prompt_text(task: Task, template: Template, demonstrations: Sequence[Row], row: Row, words: Sequence[str]) -> str:
    """The whole prompt as text, up to and without the space before the label.

    Raises:
        PromptError: the template does not end in ` {label}`, or what is left ends in white space.
    """
    if not template.text.endswith(" {label}"):
        raise PromptError(f"task {task.name}, template {template.name}: the text must end in ' {{label}}'")
    filled = [template.text.format(**shot.fields, label=words[shot.gold]) for shot in demonstrations]
    query = template.text.removesuffix(" {label}").format(**row.fields)
    text = template.separator.join([*filled, query])
    if not text or text[-1].isspace():
        raise PromptError(
            f"task {task.name}, template {template.name}: the prompt of {row.example_id} ends in white space, which "
            "would split from the label word's own leading space; trim the field or end the template in a word"
        )
    return text


def _label_ids(tokenizer: PreTrainedTokenizerBase, text: str, words: Sequence[str], where: str) -> tuple[int, ...]:
    """The token each label word becomes after a prompt, read off whole strings."""
    before = tokenizer(text)["input_ids"]
    found = []
    for word in words:
        after = tokenizer(f"{text} {word}")["input_ids"]
        if after[: len(before)] != before or len(after) != len(before) + 1:
            pieces = tokenizer.convert_ids_to_tokens(after[len(before) :])
            raise PromptError(
                f"{where}: label word {word!r} is not one token after the prompt but {pieces}; "
                f"choose single-token label words (now: {', '.join(words)})"
            )
        found.append(after[-1])
    unknown = tokenizer.unk_token_id
    if len(set(found)) < len(found) or (unknown is not None and unknown in found):
        raise PromptError(f"{where}: label words {', '.join(words)} do not have a token each (ids {found})")
    return tuple(found)


def _tokenise(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    gold_words: Sequence[str],
    label_ids: Sequence[int],
    words: Sequence[str],
    where: str,
) -> list[tuple[int, ...]]:
    """Token ids of each prompt, cut from the prompt with its gold label, where the label must be one more token."""
    whole = tokenizer([f"{text} {word}" for text, word in zip(texts, gold_words, strict=True)])["input_ids"]
    for ids, word, text in zip(whole, gold_words, texts, strict=True):
        if ids[-1] != label_ids[list(words).index(word)]:
            raise PromptError(f"{where}: {word!r} merges with the end of its prompt (...{text[-40:]!r})")
    return [tuple(ids[:-1]) for ids in whole]


def _common_prefix(token_ids: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one of its own."""
    shortest = min(map(len, token_ids))
    table = np.array([ids[:shortest] for ids in token_ids])
    differs = (table != table[0]).any(0)
    return min(int(differs.argmax()) if differs.any() else shortest, shortest - 1)
