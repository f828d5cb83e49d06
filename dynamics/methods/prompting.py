"""What else K labelled examples can do: more demonstrations (Standard), or better chosen ones (PromptS).

Both are prompts of their own, answered by the full model and not decomposed. The K labelled examples are those that
reweighting has, as the paper counts them: the K' demonstrations in the unit's prompts and the first K - K' of its
training rows, of those that fit the context (`prompts.fitting_rows`).
(Paper, section 5 and table 4.)
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
from dynamics.methods.nearest import Vectors, nearest
from dynamics.partition import Selection, rng_of, shuffle_last_two_apart
from dynamics.prompt_encoder import PromptEncoder, prompt_encoder
from dynamics.prompts import PromptSet, encode_prompts
from dynamics.tasks import Row, Task


@dataclass(frozen=True)
class PromptInputs:
    """The rows and the wording of one unit's prompts.

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


def baseline_scores(
    model: PreTrainedModel,
    inputs: PromptInputs,
    baselines: Sequence[PromptingBaseline],
    vectors: Vectors,
    *,
    token_budget: int | None = None,
) -> list[dict[str, object]]:
    """Rows of `prompt_scores` (without the keys), one per baseline, on the unit's own test rows.

    Args:
        model: a causal language model in eval mode, of a supported family.
        inputs: the unit's rows and wording.
        baselines: which methods, with which K.
        vectors: embeds rows for prompt_selection; one for all units of a task embeds every row once.
        token_budget: padded tokens per batch, None to fit free memory.

    Raises:
        FailedCheck: the batched pass is not the model's own, or an embedding is not finite.
    """
    return [_score(model, inputs, baseline, vectors, token_budget) for baseline in baselines]


def standard_prompts(inputs: PromptInputs, n_labelled: int) -> PromptSet:
    """The K-shot prompt: all K labelled examples, shuffled until the last two labels differ, before every test row.

    Where the longest prompt does not fit, demonstrations are dropped for all test rows alike.
    """
    rng = rng_of(inputs.task, STANDARD, inputs.demo_seed)
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


def selected_prompts(inputs: PromptInputs, n_labelled: int, vectors: Vectors) -> PromptSet:
    """Each test row after the K' labelled examples nearest to it, whatever their labels, the nearest last.

    A prompt that does not fit loses its farthest demonstrations; `n_shots_used` is the fewest that any prompt has.

    Raises:
        PromptError: no test row fits the context.
    """
    labelled, test = inputs.labelled(n_labelled), inputs.chosen.test
    n_shots = len(inputs.chosen.demonstrations)
    order = nearest(vectors.of(test), vectors.of(labelled), n_shots)
    wanted = [(tuple(labelled[i] for i in mine), row) for mine, row in zip(order, test, strict=True)]
    template = inputs.task.template(inputs.template)
    encoder = prompt_encoder(inputs.task, template, inputs.tokenizer, inputs.demo_seed, *wanted[0])
    written = _fit_each(encoder, wanted, inputs.max_length)
    skipped = encoder.too_long([row for _, row in wanted if row.example_id not in written], inputs.max_length or 0)
    if not written:
        raise PromptError(f"{encoder.where}: no test row fits the model's {inputs.max_length} tokens")
    return PromptSet(
        task=inputs.task.name,
        template=inputs.template,
        demo_seed=inputs.demo_seed,
        n_shots=n_shots,
        label_words=encoder.words,
        label_ids=encoder.label_ids,
        shared_ids=(),
        own_ids=tuple(ids for ids, _ in written.values()),
        split=("test",) * len(written),
        example_id=tuple(written),
        gold=tuple(row.gold for row in test if row.example_id in written),
        shares_pool=inputs.chosen.shares_pool,
        bos=encoder.begins_with_bos([ids for ids, _ in written.values()]),
        n_shots_used=min(used for _, used in written.values()),
        skipped=tuple(
            ("test", row.example_id, row.gold, skipped[row.example_id]) for row in test if row.example_id in skipped
        ),
    )


def _fit_each(
    encoder: PromptEncoder, wanted: Sequence[tuple[tuple[Row, ...], Row]], max_length: int | None
) -> dict[str, tuple[tuple[int, ...], int]]:
    """example_id -> (token ids, demonstrations in them), for the rows that fit with some or none."""
    written = {}
    for (shots, row), ids in zip(wanted, encoder.each(wanted), strict=True):
        while max_length is not None and len(ids) > max_length and shots:
            shots = shots[1:]
            ids = encoder.token_ids(shots, [row])[0]
        if max_length is None or len(ids) <= max_length:
            written[row.example_id] = ids, len(shots)
    return written


def _score(
    model: PreTrainedModel,
    inputs: PromptInputs,
    baseline: PromptingBaseline,
    vectors: Vectors,
    token_budget: int | None,
) -> dict[str, object]:
    """One row; null with a reason where the setting has no meaning."""
    shared = {
        "split": "test",
        "method": baseline.method,
        "variant": baseline.variant,
        "n_labelled": baseline.n_labelled,
        "fit_id": baseline.fit_id,
    }
    reason = _meaningless(baseline, inputs)
    if reason is not None:
        return {**shared, "accuracy": None, "n_examples": 0, "n_shots_used": 0, "reason": reason}
    if baseline.method == STANDARD:
        prompts = standard_prompts(inputs, baseline.n_labelled)
    else:
        prompts = selected_prompts(inputs, baseline.n_labelled, vectors)
    answers = full_logits(model, prompts, token_budget=token_budget)
    dtype = str(model.dtype).removeprefix("torch.")
    check_forward(answers.forward_error, dtype, f"{baseline.method}, K = {baseline.n_labelled}")
    return {
        **shared,
        "accuracy": float(scores.accuracy(scores.credit(answers.logits), np.array(prompts.gold))),
        "n_examples": len(prompts.gold),
        "n_shots_used": prompts.n_shots_used,
        "reason": None,
    }


def _meaningless(baseline: PromptingBaseline, inputs: PromptInputs) -> str | None:
    """Why the setting has no number; None where it has one. A K that the unit does not have is not another K's."""
    n_shots, n_train = len(inputs.chosen.demonstrations), len(inputs.chosen.train)
    if not n_shots <= baseline.n_labelled <= n_shots + n_train:
        return f"K = {baseline.n_labelled} labelled examples; the unit has {n_shots} demonstrations and {n_train} more"
    if baseline.method == PROMPT_SELECTION and n_shots == 0:
        return "a prompt without demonstrations has none to select"
    return None
