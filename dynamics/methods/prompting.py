"""Prompting baselines: K labelled examples as more demonstrations (Standard), or as nearer ones (PromptS).

Both build prompts of their own, scored by the full model without a decomposition. The K labelled examples are those of
the reweighting, as the paper counts them: the K' demonstrations in the unit's prompts and the first K - K' of its
training rows, of those that fit the context (`prompts.fitting_rows`). (Paper, section 5 and table 4.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics import scores
from dynamics.errors import PromptError
from dynamics.full_model import full_logits
from dynamics.gate import check_forward
from dynamics.methods.baselines import PROMPT_SELECTION, STANDARD, PromptingBaseline
from dynamics.methods.nearest import EmbeddingCache, nearest
from dynamics.partition import Selection, shuffle_last_two_apart, task_rng
from dynamics.prompt_encoder import PromptEncoder, prompt_encoder
from dynamics.prompts import PromptSet, encode_prompts
from dynamics.tasks import Row, Task


@dataclass(frozen=True)
class PromptInputs:
    """The rows of one unit's prompts, and what turns them into tokens.

    Attributes:
        task: the task.
        template: name of its template.
        tokenizer: the checkpoint's.
        chosen: the unit's demonstrations, training rows and test rows; of the first two those that fit the context.
        demo_seed: seed of the order of demonstrations, and of the label words where the task samples them.
        max_length: the model's context in tokens, None for any length.
    """

    task: Task
    template: str
    tokenizer: PreTrainedTokenizerBase
    chosen: Selection
    demo_seed: int
    max_length: int | None = None

    def labelled(self, n_labelled: int) -> tuple[Row, ...]:
        """The K labelled examples: all demonstrations, then training rows up to K or their end."""
        shots = self.chosen.demonstrations
        return shots + self.chosen.train[: max(0, n_labelled - len(shots))]


def baseline_scores(
    model: PreTrainedModel,
    inputs: PromptInputs,
    baselines: Sequence[PromptingBaseline],
    embeddings: EmbeddingCache,
    *,
    token_budget: int | None = None,
) -> list[dict[str, object]]:
    """Rows of `prompt_scores` without the keys, one per baseline, on the unit's own test rows.

    Args:
        model: a causal language model in eval mode, of a supported family.
        inputs: the unit's rows, template and tokenizer.
        baselines: methods and their K.
        embeddings: of rows, for prompt_selection; share it among the units of a task to embed every row once.
        token_budget: padded tokens per batch, None to fit free memory.

    Raises:
        FailedCheck: the batched pass differs from the model's own, or an embedding is not finite.
    """
    return [_score(model, inputs, baseline, embeddings, token_budget) for baseline in baselines]


def standard_prompts(inputs: PromptInputs, n_labelled: int) -> PromptSet:
    """Standard: all K labelled examples before every test row, shuffled until the last two labels differ.

    Where the longest prompt exceeds the context, demonstrations are dropped for all test rows alike.
    """
    rng = task_rng(inputs.task, STANDARD, inputs.demo_seed)
    shots = shuffle_last_two_apart(inputs.labelled(n_labelled), rng)
    return encode_prompts(
        inputs.task,
        inputs.template,
        inputs.tokenizer,
        replace(inputs.chosen, demonstrations=shots, train=()),
        demo_seed=inputs.demo_seed,
        n_shots=n_labelled,
        max_length=inputs.max_length,
    )


def selected_prompts(inputs: PromptInputs, n_labelled: int, embeddings: EmbeddingCache) -> PromptSet:
    """PromptS: each test row after the K' labelled examples nearest to it, of any labels, the nearest last.

    Where a prompt exceeds the context, its farthest demonstrations are dropped; `n_shots_used` is the fewest of any
    prompt.

    Raises:
        PromptError: no test row fits the context.
    """
    labelled, test = inputs.labelled(n_labelled), inputs.chosen.test
    n_shots = len(inputs.chosen.demonstrations)
    neighbours = nearest(embeddings.of_rows(test), embeddings.of_rows(labelled), n_shots)
    prompts = [(tuple(labelled[i] for i in indices), row) for indices, row in zip(neighbours, test, strict=True)]
    template = inputs.task.template(inputs.template)
    encoder = prompt_encoder(inputs.task, template, inputs.tokenizer, inputs.demo_seed, *prompts[0])
    encoded = _encode_fitting(encoder, prompts, inputs.max_length)
    too_long = encoder.too_long([row for row in test if row.example_id not in encoded], inputs.max_length or 0)
    if not encoded:
        raise PromptError(
            f"{encoder.where}: no test row fits the model's {inputs.max_length} tokens; use a shorter template or task"
        )
    return PromptSet(
        task=inputs.task.name,
        template=inputs.template,
        demo_seed=inputs.demo_seed,
        n_shots=n_shots,
        label_words=encoder.words,
        label_ids=encoder.label_ids,
        shared_ids=(),
        own_ids=tuple(ids for ids, _ in encoded.values()),
        split=("test",) * len(encoded),
        example_id=tuple(encoded),
        gold=tuple(row.gold for row in test if row.example_id in encoded),
        shares_pool=inputs.chosen.shares_pool,
        bos=encoder.begins_with_bos([ids for ids, _ in encoded.values()]),
        n_shots_used=min(n_shots_used for _, n_shots_used in encoded.values()),
        skipped=tuple(
            ("test", row.example_id, row.gold, too_long[row.example_id]) for row in test if row.example_id in too_long
        ),
    )


def _encode_fitting(
    encoder: PromptEncoder, prompts: Sequence[tuple[tuple[Row, ...], Row]], max_length: int | None
) -> dict[str, tuple[tuple[int, ...], int]]:
    """example_id -> (token ids, number of demonstrations), of the rows that fit with some demonstrations or none."""
    encoded = {}
    for (shots, row), ids in zip(prompts, encoder.encode(prompts), strict=True):
        while max_length is not None and len(ids) > max_length and shots:
            shots = shots[1:]
            ids = encoder.token_ids(shots, [row])[0]
        if max_length is None or len(ids) <= max_length:
            encoded[row.example_id] = ids, len(shots)
    return encoded


def _score(
    model: PreTrainedModel,
    inputs: PromptInputs,
    baseline: PromptingBaseline,
    embeddings: EmbeddingCache,
    token_budget: int | None,
) -> dict[str, object]:
    """The row of one baseline; accuracy is null with a reason where the baseline is not defined for the unit."""
    shared = {"split": "test", **baseline.keys}
    reason = _why_undefined(baseline, inputs)
    if reason is not None:
        return {**shared, "accuracy": None, "n_examples": 0, "n_shots_used": 0, "reason": reason}
    if baseline.method == STANDARD:
        prompts = standard_prompts(inputs, baseline.n_labelled)
    else:
        prompts = selected_prompts(inputs, baseline.n_labelled, embeddings)
    full = full_logits(model, prompts, token_budget=token_budget)
    dtype = str(model.dtype).removeprefix("torch.")
    check_forward(full.forward_error, dtype, f"{baseline.method}, K = {baseline.n_labelled}")
    return {
        **shared,
        "accuracy": float(scores.accuracy(scores.credit(full.logits), np.array(prompts.gold))),
        "n_examples": len(prompts.gold),
        "n_shots_used": prompts.n_shots_used,
        "reason": None,
    }


def _why_undefined(baseline: PromptingBaseline, inputs: PromptInputs) -> str | None:
    """Why a baseline is not defined for a unit; None where it is. A K beyond the unit's rows is not reduced."""
    n_shots, n_train = len(inputs.chosen.demonstrations), len(inputs.chosen.train)
    if not n_shots <= baseline.n_labelled <= n_shots + n_train:
        return f"K = {baseline.n_labelled} labelled examples; the unit has {n_shots} demonstrations and {n_train} more"
    if baseline.method == PROMPT_SELECTION and n_shots == 0:
        return "a prompt without demonstrations has none to select"
    return None
