"""Demonstrations + template -> token ids, with guards against the ways a prompt goes silently wrong."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from dynamics.errors import PromptError
from dynamics.partition import PARTITION_SEED as PARTITION_SEED
from dynamics.partition import Selection, drop_first, rng_of, select_rows
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
        bos: whether every prompt begins with the tokenizer's BOS token, which its model was then trained with.
        n_shots_used: demonstrations in the prompts: fewer than `n_shots` where a class has too few rows or the
            longest prompt would not fit the context.
        skipped: (split, example_id, gold, reason) of rows that do not fit the context even without demonstrations;
            they are part of the test or training set, but not of the arrays above.
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
        max_length: the model's context in tokens; demonstrations are dropped until the longest prompt fits.

    Raises:
        PromptError: a label word is not one token here, a prompt ends in a bare space, no test example fits the
            context, or a class has no rows.
    """
    rows = rows or task.load(None)
    chosen = select_rows(task, rows, demo_seed=demo_seed, n_shots=n_shots, n_test=n_test, n_train=n_train)
    pattern = task.template(template)
    writer = _writer(task, pattern, tokenizer, label_words(task, demo_seed, pattern), chosen)
    fitted = _fit(writer, chosen, max_length)
    bos = _begins_with_bos(tokenizer, fitted.token_ids, _where(task, pattern))
    shared = _common_prefix(fitted.token_ids)
    return PromptSet(
        task=task.name,
        template=template,
        demo_seed=demo_seed,
        n_shots=n_shots,
        label_words=writer.words,
        label_ids=writer.label_ids,
        shared_ids=fitted.token_ids[0][:shared],
        own_ids=tuple(ids[shared:] for ids in fitted.token_ids),
        split=("train",) * len(fitted.train) + ("test",) * len(fitted.test),
        example_id=tuple(row.example_id for row in fitted.train + fitted.test),
        gold=tuple(row.gold for row in fitted.train + fitted.test),
        shares_pool=chosen.shares_pool,
        bos=bos,
        n_shots_used=fitted.n_shots,
        skipped=tuple(
            (split, row.example_id, row.gold, fitted.skipped[row.example_id])
            for split, part in (("train", chosen.train), ("test", chosen.test))
            for row in part
            if row.example_id in fitted.skipped
        ),
    )


def label_words(task: Task, demo_seed: int, template: Template | None = None) -> tuple[str, ...]:
    """The word of each label: the template's own, else the task's, drawn by the seed where that is a pool of words."""
    if template is not None and template.label_words:
        return template.label_words
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


@dataclass(frozen=True)
class _Writer:
    """Writes and tokenises the prompts of one template with one set of label words, and checks every one."""

    task: Task
    template: Template
    tokenizer: PreTrainedTokenizerBase
    words: tuple[str, ...]
    label_ids: tuple[int, ...]

    def token_ids(self, demonstrations: Sequence[Row], rows: Sequence[Row]) -> list[tuple[int, ...]]:
        """Token ids of each prompt, cut from the prompt with its gold label, where the label must be one more token."""
        texts = [prompt_text(self.task, self.template, demonstrations, row, self.words) for row in rows]
        golds = [self.words[row.gold] for row in rows]
        whole = [f"{text} {word}" for text, word in zip(texts, golds, strict=True)]
        found = self.tokenizer(whole)["input_ids"] if whole else []
        where, unknown = _where(self.task, self.template), self.tokenizer.unk_token_id
        for ids, word, row, text in zip(found, golds, rows, texts, strict=True):
            if ids[-1] != self.label_ids[row.gold]:
                raise PromptError(f"{where}: {word!r} merges with the end of its prompt (...{text[-40:]!r})")
            if unknown is not None and unknown in ids[1:]:
                raise PromptError(
                    f"{where}: the prompt of {row.example_id} holds words that the tokenizer does not know "
                    f"({self.tokenizer.unk_token}); this model cannot read the task"
                )
        return [tuple(ids[:-1]) for ids in found]


@dataclass(frozen=True)
class _Fitted:
    """The rows that fit the context, and the token ids of their prompts, training rows first."""

    train: tuple[Row, ...]
    test: tuple[Row, ...]
    token_ids: list[tuple[int, ...]]
    n_shots: int
    skipped: Mapping[str, str]


def _writer(
    task: Task, template: Template, tokenizer: PreTrainedTokenizerBase, words: tuple[str, ...], chosen: Selection
) -> _Writer:
    text = prompt_text(task, template, chosen.demonstrations, chosen.test[0], words)
    return _Writer(task, template, tokenizer, words, _label_ids(tokenizer, text, words, _where(task, template)))


def _fit(writer: _Writer, chosen: Selection, max_length: int | None) -> _Fitted:
    """Drop demonstrations, the same for all examples, until every prompt fits; skip rows too long for any.

    Rows that do not fit alone are put aside first, so that one of them does not cost the others their demonstrations.

    Raises:
        PromptError: no test row fits.
    """
    shots, rows = chosen.demonstrations, chosen.train + chosen.test
    ids = writer.token_ids(shots, rows)
    if max_length is None or max(map(len, ids)) <= max_length:
        return _Fitted(chosen.train, chosen.test, ids, len(shots), {})
    skipped = _too_long(writer, [row for row, own in zip(rows, ids, strict=True) if len(own) > max_length], max_length)
    train = tuple(row for row in chosen.train if row.example_id not in skipped)
    test = tuple(row for row in chosen.test if row.example_id not in skipped)
    if not test:
        where = _where(writer.task, writer.template)
        raise PromptError(f"{where}: no test row fits the model's {max_length} tokens even without demonstrations")
    ids = [own for row, own in zip(rows, ids, strict=True) if row.example_id not in skipped]
    while max(map(len, ids)) > max_length:
        longest = (train + test)[max(range(len(ids)), key=lambda i: len(ids[i]))]
        while len(writer.token_ids(shots, [longest])[0]) > max_length:
            shots = drop_first(shots)
        ids = writer.token_ids(shots, train + test)
    return _Fitted(train, test, ids, len(shots), skipped)


def _too_long(writer: _Writer, rows: Sequence[Row], max_length: int) -> dict[str, str]:
    """Which of the rows do not fit without demonstrations, and why."""
    lengths = zip(rows, map(len, writer.token_ids((), rows)), strict=True)
    reason = f"tokens without demonstrations; the model reads {max_length}"
    return {row.example_id: f"{length} {reason}" for row, length in lengths if length > max_length}


def _where(task: Task, template: Template) -> str:
    return f"task {task.name}, template {template.name}"


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


def _begins_with_bos(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[Sequence[int]], where: str) -> bool:
    """Whether the tokenizer put its BOS token first, as it does where its model was trained with one.

    Raises:
        PromptError: a text holds that token, so that it would stand between demonstrations or twice.
    """
    bos = tokenizer.bos_token_id
    begins = all(ids[0] == bos for ids in token_ids)
    if begins and any(bos in ids[1:] for ids in token_ids):
        raise PromptError(
            f"{where}: the tokenizer puts {tokenizer.bos_token!r} before every prompt and a text holds it too; "
            "take it out of the template and the rows"
        )
    return begins


def _common_prefix(token_ids: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one of its own."""
    shortest = min(map(len, token_ids))
    table = np.array([ids[:shortest] for ids in token_ids])
    differs = (table != table[0]).any(0)
    return min(int(differs.argmax()) if differs.any() else shortest, shortest - 1)
