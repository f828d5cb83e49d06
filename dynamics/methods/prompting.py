"""What else K labelled examples can do: more demonstrations (Standard), or better chosen ones (PromptS).

Both are prompts of their own, answered by the full model and not decomposed. The K labelled examples are those that
reweighting has, as the paper counts them: the K' demonstrations in the unit's prompts and the first K - K' of its
training rows, of those that fit the context (`prompts.fitting_rows`).
(Paper, section 5 and table 4.)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics import scores
from dynamics.decomposition import FORWARD_TOLERANCE
from dynamics.errors import DoubtfulUnit, PromptError
from dynamics.full_model import full_answers
from dynamics.methods.nearest import Vectors, nearest
from dynamics.partition import Selection, rng_of, shuffle_last_two_apart
from dynamics.prompt_encoder import Writer, open_writer
from dynamics.prompts import PromptSet, write_prompts
from dynamics.results.schema import METHOD_VERSION
from dynamics.tasks import Row, Task

STANDARD = "standard"
PROMPT_SELECTION = "prompt_selection"
CHECKPOINT = "checkpoint"
"""The variant of prompt_selection whose vectors are the checkpoint's own."""


@dataclass(frozen=True)
class Rival:
    """One way of using K labelled examples in the prompt.

    Attributes:
        method: `standard` or `prompt_selection`.
        n_labelled: K.
        variant: of prompt_selection, the name of what embeds: `checkpoint`, or an encoder's folder.
        encoder_hash: of the encoder's files; empty where the checkpoint embeds.
    """

    method: str
    n_labelled: int
    variant: str = ""
    encoder_hash: str = ""

    @property
    def fit_id(self) -> str:
        """Hash (16 hex) of the setting; with a unit's id it is the whole identity of a row of `prompt_scores`."""
        text = repr((self.method, self.n_labelled, self.variant, self.encoder_hash, METHOD_VERSION))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Asked:
    """What one unit asks of which rows.

    Attributes:
        task, template: the wording; the template by name.
        chosen: the unit's own demonstrations, training rows and test rows; of the first two those that fit.
        demo_seed: orders demonstrations, and draws label words where the task does.
        max_length: the model's context in tokens, None for any length.
    """

    task: Task
    template: str
    tokenizer: PreTrainedTokenizerBase
    chosen: Selection
    demo_seed: int
    max_length: int | None = None

    def labelled(self, n_labelled: int) -> tuple[Row, ...]:
        """The K labelled examples: all demonstrations, then training rows up to K, as far as there are."""
        shots = self.chosen.demonstrations
        return shots + self.chosen.train[: max(0, n_labelled - len(shots))]


def rival_scores(
    model: PreTrainedModel, asked: Asked, rivals: Sequence[Rival], vectors: Vectors, *, token_budget: int | None = None
) -> list[dict[str, object]]:
    """Rows of `prompt_scores` (without the keys), one per rival, on the unit's own test rows.

    Args:
        model: a causal language model in eval mode, of a supported family.
        asked: the unit's rows and wording.
        rivals: which methods, with which K.
        vectors: embeds rows for prompt_selection; one for all units of a task embeds every row once.
        token_budget: padded tokens per batch, None to fit free memory.

    Raises:
        DoubtfulUnit: the batched pass is not the model's own, or an embedding is not finite.
    """
    return [_score(model, asked, rival, vectors, token_budget) for rival in rivals]


def standard_prompts(asked: Asked, n_labelled: int) -> PromptSet:
    """The K-shot prompt: all K labelled examples, shuffled until the last two labels differ, before every test row.

    Where the longest prompt does not fit, demonstrations are dropped for all test rows alike.
    """
    rng = rng_of(asked.task, STANDARD, asked.demo_seed)
    shots = shuffle_last_two_apart(asked.labelled(n_labelled), rng)
    return write_prompts(
        asked.task,
        asked.template,
        asked.tokenizer,
        replace(asked.chosen, demonstrations=shots, train=()),
        demo_seed=asked.demo_seed,
        n_shots=n_labelled,
        max_length=asked.max_length,
    )


def selected_prompts(asked: Asked, n_labelled: int, vectors: Vectors) -> PromptSet:
    """Each test row after the K' labelled examples nearest to it, whatever their labels, the nearest last.

    A prompt that does not fit loses its farthest demonstrations; `n_shots_used` is the fewest that any prompt has.

    Raises:
        PromptError: no test row fits the context.
    """
    labelled, test = asked.labelled(n_labelled), asked.chosen.test
    n_shots = len(asked.chosen.demonstrations)
    order = nearest(vectors.of(test), vectors.of(labelled), n_shots)
    wanted = [(tuple(labelled[i] for i in mine), row) for mine, row in zip(order, test, strict=True)]
    template = asked.task.template(asked.template)
    writer = open_writer(asked.task, template, asked.tokenizer, asked.demo_seed, *wanted[0])
    written = _fit_each(writer, wanted, asked.max_length)
    skipped = writer.too_long([row for _, row in wanted if row.example_id not in written], asked.max_length or 0)
    if not written:
        raise PromptError(f"{writer.where}: no test row fits the model's {asked.max_length} tokens")
    return PromptSet(
        task=asked.task.name,
        template=asked.template,
        demo_seed=asked.demo_seed,
        n_shots=n_shots,
        label_words=writer.words,
        label_ids=writer.label_ids,
        shared_ids=(),
        own_ids=tuple(ids for ids, _ in written.values()),
        split=("test",) * len(written),
        example_id=tuple(written),
        gold=tuple(row.gold for row in test if row.example_id in written),
        shares_pool=asked.chosen.shares_pool,
        bos=writer.begins_with_bos([ids for ids, _ in written.values()]),
        n_shots_used=min(used for _, used in written.values()),
        skipped=tuple(
            ("test", row.example_id, row.gold, skipped[row.example_id]) for row in test if row.example_id in skipped
        ),
    )


def _fit_each(
    writer: Writer, wanted: Sequence[tuple[tuple[Row, ...], Row]], max_length: int | None
) -> dict[str, tuple[tuple[int, ...], int]]:
    """example_id -> (token ids, demonstrations in them), for the rows that fit with some or none."""
    written = {}
    for (shots, row), ids in zip(wanted, writer.each(wanted), strict=True):
        while max_length is not None and len(ids) > max_length and shots:
            shots = shots[1:]
            ids = writer.token_ids(shots, [row])[0]
        if max_length is None or len(ids) <= max_length:
            written[row.example_id] = ids, len(shots)
    return written


def _score(
    model: PreTrainedModel, asked: Asked, rival: Rival, vectors: Vectors, token_budget: int | None
) -> dict[str, object]:
    """One row; null with a reason where the setting has no meaning."""
    shared = {
        "split": "test",
        "method": rival.method,
        "variant": rival.variant,
        "n_labelled": rival.n_labelled,
        "fit_id": rival.fit_id,
    }
    reason = _meaningless(rival, asked)
    if reason is not None:
        return {**shared, "accuracy": None, "n_examples": 0, "n_shots_used": 0, "reason": reason}
    if rival.method == STANDARD:
        prompts = standard_prompts(asked, rival.n_labelled)
    else:
        prompts = selected_prompts(asked, rival.n_labelled, vectors)
    answers = full_answers(model, prompts, token_budget=token_budget)
    _gate(answers.forward_error, str(model.dtype).removeprefix("torch."), rival)
    return {
        **shared,
        "accuracy": float(scores.accuracy(scores.credit(answers.logits), np.array(prompts.gold))),
        "n_examples": len(prompts.gold),
        "n_shots_used": prompts.n_shots_used,
        "reason": None,
    }


def _meaningless(rival: Rival, asked: Asked) -> str | None:
    """Why the setting has no number; None where it has one. A K that the unit does not have is not another K's."""
    n_shots, n_train = len(asked.chosen.demonstrations), len(asked.chosen.train)
    if not n_shots <= rival.n_labelled <= n_shots + n_train:
        return f"K = {rival.n_labelled} labelled examples; the unit has {n_shots} demonstrations and {n_train} more"
    if rival.method == PROMPT_SELECTION and n_shots == 0:
        return "a prompt without demonstrations has none to select"
    return None


def _gate(error: float, dtype: str, rival: Rival) -> None:
    """Written as `not (error <= tolerance)`, so that NaN fails."""
    if not error <= FORWARD_TOLERANCE[dtype]:
        raise DoubtfulUnit(
            f"{rival.method}, K = {rival.n_labelled}: the batched pass misses the model's own logits by {error:.2e} "
            f"({dtype} allows {FORWARD_TOLERANCE[dtype]:.0e}); its row is not written"
        )
