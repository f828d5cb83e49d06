"""Prompt encoder: prompts as text and token ids, with checks of what a tokenizer makes of their label words."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from dynamics.errors import PromptError
from dynamics.partition import task_rng
from dynamics.tasks import Row, Task, Template


def label_words(task: Task, demo_seed: int, template: Template | None = None) -> tuple[str, ...]:
    """The word of each label: the template's, else the task's; sampled by the seed where these are a pool of words."""
    if template is not None and template.label_words:
        return template.label_words
    if len(task.label_words) == task.n_labels:
        return task.label_words
    indices = task_rng(task, "label words", demo_seed).choice(len(task.label_words), task.n_labels, replace=False)
    return tuple(task.label_words[i] for i in indices)


def prompt_text(
    task: Task,
    template: Template,
    demonstrations: Sequence[Row],
    row: Row,
    words: Sequence[str],
    *,
    trimmed: bool = False,
) -> str:
    """The prompt as text, up to the space before the label, which is not part of it.

    Args:
        task, template, demonstrations, row: what it is made of.
        words: of each label.
        trimmed: whether white space at its end is taken off, as an empty field leaves it there, and no error.

    Raises:
        PromptError: the template does not end in ` {label}`, or the prompt without it ends in white space.
    """
    if not template.text.endswith(" {label}"):
        raise PromptError(f"task {task.name}, template {template.name}: the text must end in ' {{label}}'")
    filled = [template.text.format(**shot.fields, label=words[shot.gold]) for shot in demonstrations]
    query = template.text.removesuffix(" {label}").format(**row.fields)
    text = template.separator.join([*filled, query])
    text = text.rstrip() if trimmed else text
    if not text or text[-1].isspace():
        raise PromptError(
            f"task {task.name}, template {template.name}: the prompt of {row.example_id} ends in white space, which "
            "would split from the label word's own leading space; trim the field or end the template in a word"
        )
    return text


@dataclass(frozen=True)
class PromptEncoder:
    """Encoder of the prompts of one template with one set of label words; every prompt is checked."""

    task: Task
    template: Template
    tokenizer: PreTrainedTokenizerBase
    words: tuple[str, ...]
    label_ids: tuple[int, ...]

    def token_ids(self, demonstrations: Sequence[Row], rows: Sequence[Row]) -> list[tuple[int, ...]]:
        """Token ids of the prompts of several rows with the same demonstrations."""
        return self.encode([(demonstrations, row) for row in rows])

    def encode(self, prompts: Sequence[tuple[Sequence[Row], Row]], *, trimmed: bool = False) -> list[tuple[int, ...]]:
        """Token ids of each prompt (its demonstrations, its row); `trimmed` as in `prompt_text`.

        The prompt is tokenised together with its gold label; the label must be the last token, which is cut off.

        Raises:
            PromptError: a label merges with its prompt, or a word is unknown to the tokenizer.
        """
        texts = [
            prompt_text(self.task, self.template, shots, row, self.words, trimmed=trimmed) for shots, row in prompts
        ]
        golds = [self.words[row.gold] for _, row in prompts]
        answered = [f"{text} {word}" for text, word in zip(texts, golds, strict=True)]
        token_ids = self.tokenizer(answered)["input_ids"] if answered else []
        unknown, bos = self.tokenizer.unk_token_id, self.tokenizer.bos_token_id
        for ids, word, (_, row), text in zip(token_ids, golds, prompts, texts, strict=True):
            if ids[-1] != self.label_ids[row.gold]:
                raise PromptError(
                    f"{self.where}: {word!r} merges with the end of its prompt (...{text[-40:]!r}); choose "
                    "another label word or end the template differently"
                )
            if unknown is not None and unknown in ids[int(ids[0] == bos) :]:
                raise PromptError(
                    f"{self.where}: the prompt of {row.example_id} holds words that the tokenizer does not know "
                    f"({self.tokenizer.unk_token}); use another model for this task"
                )
        return [tuple(ids[:-1]) for ids in token_ids]

    def demo_labels(self, demonstrations: Sequence[Row], shared_ids: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Position in the shared tokens and label of each demonstration's label word.

        The demonstrations up to a label word are tokenised by themselves; the word is their last token. Empty where it
        is another token at that position of the whole prompt.
        """
        filled = [self.template.text.format(**shot.fields, label=self.words[shot.gold]) for shot in demonstrations]
        texts = [self.template.separator.join(filled[: i + 1]) for i in range(len(filled))]
        token_ids = self.tokenizer(texts)["input_ids"] if texts else []
        found = tuple((len(ids) - 1, shot.gold) for ids, shot in zip(token_ids, demonstrations, strict=True))
        agrees = all(at < len(shared_ids) and shared_ids[at] == self.label_ids[label] for at, label in found)
        return found if agrees else ()

    def begins_with_bos(self, token_ids: Sequence[Sequence[int]]) -> bool:
        """Whether the tokenizer puts its BOS token first, as it does if its model was trained with one.

        Raises:
            PromptError: a text contains that token, which would then occur twice or between demonstrations.
        """
        bos = self.tokenizer.bos_token_id
        begins = all(ids[0] == bos for ids in token_ids)
        if begins and any(bos in ids[1:] for ids in token_ids):
            raise PromptError(
                f"{self.where}: the tokenizer puts {self.tokenizer.bos_token!r} before every prompt and a text holds "
                "it too; take it out of the template and the rows"
            )
        return begins

    def too_long(self, rows: Sequence[Row], max_length: int) -> dict[str, str]:
        """The rows that do not fit the context without demonstrations: example_id -> reason."""
        lengths = zip(rows, map(len, self.token_ids((), rows)), strict=True)
        reason = f"tokens without demonstrations; the model reads {max_length}"
        return {row.example_id: f"{length} {reason}" for row, length in lengths if length > max_length}

    @property
    def where(self) -> str:
        """Task and template, for messages."""
        return _where(self.task, self.template)


def prompt_encoder(
    task: Task,
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    demo_seed: int,
    demonstrations: Sequence[Row],
    row: Row,
) -> PromptEncoder:
    """The encoder for the label words of a seed; their token ids are taken from one complete prompt.

    Raises:
        PromptError: a label word is not a single token there, or two have the same token.
    """
    words = label_words(task, demo_seed, template)
    if unusable := [word for word in words if not word or word != word.strip()]:
        raise PromptError(
            f"{_where(task, template)}: label word {unusable[0]!r} is empty or has white space around it; give the "
            "word alone, since a space is put before it"
        )
    text = prompt_text(task, template, demonstrations, row, words)
    return PromptEncoder(task, template, tokenizer, words, _label_ids(tokenizer, text, words, _where(task, template)))


def _where(task: Task, template: Template) -> str:
    return f"task {task.name}, template {template.name}"


def _label_ids(tokenizer: PreTrainedTokenizerBase, text: str, words: Sequence[str], where: str) -> tuple[int, ...]:
    """The token of each label word after a prompt; the prompt and the word are tokenised as one string."""
    prompt_ids = tokenizer(text)["input_ids"]
    label_ids = []
    for word in words:
        answered_ids = tokenizer(f"{text} {word}")["input_ids"]
        if answered_ids[: len(prompt_ids)] != prompt_ids or len(answered_ids) != len(prompt_ids) + 1:
            pieces = tokenizer.convert_ids_to_tokens(answered_ids[len(prompt_ids) :])
            raise PromptError(
                f"{where}: label word {word!r} is not one token after the prompt but {pieces}; "
                f"choose single-token label words (now: {', '.join(words)})"
            )
        label_ids.append(answered_ids[-1])
    unknown = tokenizer.unk_token_id
    if len(set(label_ids)) < len(label_ids) or (unknown is not None and unknown in label_ids):
        raise PromptError(
            f"{where}: label words {', '.join(words)} do not have a token each (ids {label_ids}); choose others"
        )
    return tuple(label_ids)
