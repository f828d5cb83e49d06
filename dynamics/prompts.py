"""Prompt sets: demonstrations, template and rows as token ids that fit the model's context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from dynamics.controls import NONE, controlled_selection
from dynamics.errors import PromptError
from dynamics.identity import short_hash
from dynamics.partition import Selection, drop_demonstration, select_rows
from dynamics.prompt_encoder import PromptEncoder, prompt_encoder
from dynamics.tasks import Row, Task, TaskRows


@dataclass(frozen=True)
class PromptSet:
    """Prompts of one task, template, demonstration seed and number of demonstrations, as token ids.

    Attributes:
        task, template, demo_seed, n_shots: identity of the set.
        label_words: (label,) text of each label word, without the leading space.
        label_ids: (label,) the token of each label word.
        shared_ids: tokens that all prompts begin with, the demonstrations; may be empty.
        own_ids: (example,) the tokens after them; never empty.
        split: (example,) `train` or `test`; training rows come first, and K labelled examples are their first K.
        example_id: (example,) id of the row.
        gold: (example,) label index.
        shares_pool: whether the pool was too small for demonstrations and training rows of this seed only.
        bos: whether the tokenizer puts its BOS token before every prompt, as it does if its model was trained so.
        n_shots_used: demonstrations in the prompts; fewer than `n_shots` where a class has too few rows or the longest
            prompt would exceed the context.
        skipped: (split, example_id, gold, reason) of rows that exceed the context even without demonstrations; they
            count as test or training rows, but are not in the arrays above.
        demo_labels: (demonstration,) position of its label word in `shared_ids`, and the label; empty where some label
            word is not at the place where the demonstrations up to it end, as a tokenizer may merge it with what
            follows.
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
    bos: bool = False
    n_shots_used: int = 0
    skipped: tuple[tuple[str, str, int, str], ...] = ()
    demo_labels: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        sizes = {len(self.own_ids), len(self.split), len(self.example_id), len(self.gold)}
        if len(sizes) != 1 or not all(self.own_ids) or len(self.label_ids) != len(self.label_words):
            raise ValueError(f"{self.task}/{self.template}: examples and labels differ in number, or a prompt is empty")

    def token_ids(self, example: int) -> tuple[int, ...]:
        """The whole prompt of one example."""
        return self.shared_ids + self.own_ids[example]

    def first_test(self, n: int) -> "PromptSet":
        """The prompts of the first n test rows; `shared_ids` stay, and rows that were skipped are left out."""
        chosen = [i for i, split in enumerate(self.split) if split == "test"][:n]
        own_ids, example_id, gold = (
            tuple(values[i] for i in chosen) for values in (self.own_ids, self.example_id, self.gold)
        )
        split = ("test",) * len(chosen)
        return replace(self, own_ids=own_ids, split=split, example_id=example_id, gold=gold, skipped=())

    def check_vocabulary(self, n_vocab: int) -> None:
        """Check that a model's embedding has a row for every token.

        Args:
            n_vocab: rows of the embedding.

        Raises:
            PromptError: a token has none: the tokenizer is of another model.
        """
        largest = max(max(self.label_ids), max(self.shared_ids, default=0), *map(max, self.own_ids))
        if largest >= n_vocab:
            raise PromptError(
                f"task {self.task}, template {self.template}: token {largest} of the prompts has no row in the model's "
                f"embedding of {n_vocab}; the tokenizer is of another model, or has tokens that were added later"
            )

    @property
    def digest(self) -> str:
        """Hash (16 hex) of the model's input and of what its answers are scored against."""
        parts = (self.label_ids, self.shared_ids, self.own_ids, self.split, self.example_id, self.gold)
        return short_hash(repr(parts))


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
    control: str = NONE,
    max_length: int | None = None,
) -> PromptSet:
    """Select rows, and encode their prompts; each prompt is tokenised as one string.

    Args:
        task: rows, label words and templates.
        template: name of one of its templates.
        tokenizer: tokenizer of the model.
        demo_seed: seed of demonstrations and training rows (and of label words, where the task has a pool of them).
        n_shots: demonstrations before each example; label-balanced, the last two with different labels if possible.
        n_test: test examples, label-balanced; the largest balanced number where the split has fewer.
        n_train: labelled training examples, used for reweighting.
        rows: the task's rows, if they are loaded already.
        control: one of `dynamics.controls`, for those that change the demonstrations of the selected rows.
        max_length: the model's context in tokens; demonstrations are dropped until the longest prompt fits.

    Raises:
        PromptError: a label word is not a single token, a prompt ends in white space, no test example fits the
            context, or a class has no rows.
    """
    rows = rows or task.load(None)
    chosen = select_rows(task, rows, demo_seed=demo_seed, n_shots=n_shots, n_test=n_test, n_train=n_train)
    chosen = controlled_selection(task, chosen, control)
    return encode_prompts(
        task, template, tokenizer, chosen, demo_seed=demo_seed, n_shots=n_shots, max_length=max_length
    )


def encode_prompts(
    task: Task,
    template: str,
    tokenizer: PreTrainedTokenizerBase,
    chosen: Selection,
    *,
    demo_seed: int,
    n_shots: int,
    max_length: int | None = None,
) -> PromptSet:
    """The prompts of selected rows; arguments and errors as for `build_prompts`."""
    pattern = task.template(template)
    encoder = prompt_encoder(task, pattern, tokenizer, demo_seed, chosen.demonstrations, chosen.test[0])
    fitted = _fit(encoder, chosen, max_length)
    bos = encoder.begins_with_bos(fitted.token_ids)
    shared = common_prefix(fitted.token_ids)
    return PromptSet(
        task=task.name,
        template=template,
        demo_seed=demo_seed,
        n_shots=n_shots,
        label_words=encoder.words,
        label_ids=encoder.label_ids,
        shared_ids=fitted.token_ids[0][:shared],
        own_ids=tuple(ids[shared:] for ids in fitted.token_ids),
        split=("train",) * len(fitted.train) + ("test",) * len(fitted.test),
        example_id=tuple(row.example_id for row in fitted.train + fitted.test),
        gold=tuple(row.gold for row in fitted.train + fitted.test),
        shares_pool=chosen.shares_pool,
        bos=bos,
        n_shots_used=len(fitted.shots),
        skipped=tuple(
            (split, row.example_id, row.gold, fitted.skipped[row.example_id])
            for split, part in (("train", chosen.train), ("test", chosen.test))
            for row in part
            if row.example_id in fitted.skipped
        ),
        demo_labels=encoder.demo_labels(fitted.shots, fitted.token_ids[0][:shared]),
    )


def fitting_rows(
    task: Task,
    template: str,
    tokenizer: PreTrainedTokenizerBase,
    chosen: Selection,
    *,
    demo_seed: int,
    max_length: int | None,
) -> Selection:
    """The selection reduced to the demonstrations and training rows that `encode_prompts` fits into the context.

    Other methods that use K labelled examples can so use the same ones. All test rows are kept: methods with longer
    prompts drop those that do not fit themselves.

    Raises:
        PromptError: no test example fits the context.
    """
    encoder = prompt_encoder(task, task.template(template), tokenizer, demo_seed, chosen.demonstrations, chosen.test[0])
    fitted = _fit(encoder, chosen, max_length)
    return replace(chosen, demonstrations=fitted.shots, train=fitted.train)


@dataclass(frozen=True)
class _Fitted:
    """Rows that fit the context, and the token ids of their prompts, training rows first."""

    shots: tuple[Row, ...]
    train: tuple[Row, ...]
    test: tuple[Row, ...]
    token_ids: list[tuple[int, ...]]
    skipped: Mapping[str, str]


def _fit(encoder: PromptEncoder, chosen: Selection, max_length: int | None) -> _Fitted:
    """Drop demonstrations, the same ones for all examples, until every prompt fits.

    Rows that do not fit even without demonstrations are skipped first, so that the others keep their demonstrations.

    Raises:
        PromptError: no test row fits.
    """
    shots, rows = chosen.demonstrations, chosen.train + chosen.test
    ids = encoder.token_ids(shots, rows)
    if max_length is None or max(map(len, ids)) <= max_length:
        return _Fitted(shots, chosen.train, chosen.test, ids, {})
    long_rows = [row for row, row_ids in zip(rows, ids, strict=True) if len(row_ids) > max_length]
    skipped = encoder.too_long(long_rows, max_length)
    train = tuple(row for row in chosen.train if row.example_id not in skipped)
    test = tuple(row for row in chosen.test if row.example_id not in skipped)
    if not test:
        raise PromptError(
            f"{encoder.where}: no test row fits the model's {max_length} tokens even without demonstrations; use a "
            "model with a longer context or a task with shorter texts"
        )
    ids = [row_ids for row, row_ids in zip(rows, ids, strict=True) if row.example_id not in skipped]
    while max(map(len, ids)) > max_length:
        longest = (train + test)[max(range(len(ids)), key=lambda i: len(ids[i]))]
        while len(encoder.token_ids(shots, [longest])[0]) > max_length:
            shots = drop_demonstration(shots)
        ids = encoder.token_ids(shots, train + test)
    return _Fitted(shots, train, test, ids, skipped)


def common_prefix(token_ids: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix of all prompts that leaves each at least one token of its own."""
    shortest = min(map(len, token_ids))
    table = np.array([ids[:shortest] for ids in token_ids])
    differs = (table != table[0]).any(0)
    return min(int(differs.argmax()) if differs.any() else shortest, shortest - 1)
