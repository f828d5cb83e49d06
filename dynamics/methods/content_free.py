"""Label-free calibrations by prompts without content: fixed texts, or random words of the task, in place of the row.

Every text field of the template is replaced: by the same fixed text (contextual calibration), or by as many words as
that field has on average, sampled with replacement from all words of that field in the task's pool rows, test rows left
out (domain-context calibration). Demonstrations, template and label words are those of the unit. The prior is the full
model's mean probability of each label over these prompts; the unit's own label logits are divided by it as
`dynamics.methods.label_free` says. (Zhao et al., arXiv 2102.09690, section 4; Fei et al., arXiv 2305.19187, section 3.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from dynamics import scores
from dynamics.errors import PromptError
from dynamics.full_model import full_logits
from dynamics.gate import check_forward
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.label_free import CONTENT_FREE, CONTEXTUAL, DOMAIN_CONTEXT, N_DOMAIN_TEXTS, calibrate, prior
from dynamics.methods.prompting import PromptInputs
from dynamics.partition import task_rng
from dynamics.prompt_encoder import PromptEncoder, prompt_encoder
from dynamics.prompts import PromptSet, common_prefix
from dynamics.tasks import Row
from dynamics.unit_arrays import LabelLogits


class Undefined(PromptError):
    """A label-free calibration is not defined for a unit; the message is the reason."""


@dataclass(frozen=True)
class FieldTexts:
    """The texts of one field, from which random words are sampled.

    Attributes:
        texts: (text,).
        ends: (text,) number of words in the texts up to and including each; words are separated by white space.
    """

    texts: tuple[str, ...]
    ends: np.ndarray

    def sample(self, n_texts: int, rng: np.random.Generator) -> list[str]:
        """Texts of random words, each word of all texts with the same probability, of the rounded mean length.

        One word at least; empty where the texts have no words.
        """
        n_words = int(self.ends[-1])
        if n_words == 0:
            return [""] * n_texts
        length = max(1, round(n_words / len(self.texts)))
        return [" ".join(map(self._word, positions)) for positions in rng.integers(n_words, size=(n_texts, length))]

    def _word(self, position: int) -> str:
        text = int(np.searchsorted(self.ends, position, side="right"))
        return self.texts[text].split()[position - (self.ends[text - 1] if text else 0)]


def texts_by_field(rows: Sequence[Row]) -> dict[str, FieldTexts]:
    """The texts of every field of some rows, fields sorted."""
    by_field = {name: tuple(row.fields[name] for row in rows) for name in sorted(rows[0].fields)}
    return {
        name: FieldTexts(texts, np.cumsum([len(text.split()) for text in texts])) for name, texts in by_field.items()
    }


def calibration_scores(
    model: PreTrainedModel,
    inputs: PromptInputs,
    baselines: Sequence[PromptingBaseline],
    pool: Mapping[str, FieldTexts],
    test: LabelLogits,
    *,
    token_budget: int | None = None,
) -> list[dict[str, object]]:
    """Rows of `prompt_scores` without the keys, one per label-free calibration, on the unit's own test rows.

    Args:
        model: a causal language model in eval mode, of a supported family.
        inputs: the unit's rows, template and tokenizer.
        baselines: those to run, of `LABEL_FREE`.
        pool: texts of the task's pool rows by field.
        test: the full model's label logits of the unit's test rows.
        token_budget: padded tokens per batch, None to fit free memory.

    Raises:
        FailedCheck: the batched pass differs from the model's own.
        PromptError: a text of random words makes no prompt that passes the checks of every prompt.
    """
    return [_score(model, inputs, baseline, pool, test, token_budget) for baseline in baselines]


def prior_prompts(inputs: PromptInputs, method: str, pool: Mapping[str, FieldTexts]) -> PromptSet:
    """The unit's prompts without content, after its demonstrations.

    Those of `CONTENT_FREE` that make no prompt are left out: `N/A` where the tokenizer does not know it, or the empty
    text where nothing else is in the prompt. White space that an empty text leaves at the end of a prompt is cut off.

    Args:
        inputs: the unit's rows, template and tokenizer.
        method: one of `LABEL_FREE`.
        pool: texts of the task's pool rows by field.

    Raises:
        Undefined: none of `CONTENT_FREE` makes a prompt, or one exceeds the context.
        PromptError: a text of random words makes no prompt.
    """
    task, shots, first = inputs.task, inputs.chosen.demonstrations, inputs.chosen.test[0]
    # label words have the tokens that they have in the unit's own prompts, or `encode` refuses
    encoder = prompt_encoder(task, task.template(inputs.template), inputs.tokenizer, inputs.demo_seed, shots, first)
    if method == CONTEXTUAL:
        rows = [Row(f"content-free text {text!r}", dict.fromkeys(first.fields, text), 0) for text in CONTENT_FREE]
        token_ids = _encode_possible(encoder, shots, rows)
    else:
        rows = _random_rows(pool, task_rng(task, DOMAIN_CONTEXT, inputs.demo_seed))
        token_ids = encoder.encode([(shots, row) for row in rows], trimmed=True)
    longest = max(map(len, token_ids))
    if inputs.max_length is not None and longest > inputs.max_length:
        raise Undefined(f"a prompt without content has {longest} tokens; the model reads {inputs.max_length}")
    n_shared = common_prefix(token_ids)
    return PromptSet(
        task=task.name,
        template=inputs.template,
        demo_seed=inputs.demo_seed,
        n_shots=len(shots),
        label_words=encoder.words,
        label_ids=encoder.label_ids,
        shared_ids=token_ids[0][:n_shared],
        own_ids=tuple(ids[n_shared:] for ids in token_ids),
        split=("test",) * len(token_ids),
        example_id=tuple(map(str, range(len(token_ids)))),
        gold=(0,) * len(token_ids),
        bos=encoder.begins_with_bos(token_ids),
        n_shots_used=len(shots),
    )


def _encode_possible(encoder: PromptEncoder, shots: Sequence[Row], rows: Sequence[Row]) -> list[tuple[int, ...]]:
    """Token ids of the rows that make a prompt."""
    token_ids, refusals = [], []
    for row in rows:
        try:
            token_ids += encoder.encode([(shots, row)], trimmed=True)
        except PromptError as error:
            refusals.append(str(error))
    if not token_ids:
        raise Undefined(f"no content-free text makes a prompt; the last: {refusals[-1]}")
    return token_ids


def _random_rows(pool: Mapping[str, FieldTexts], rng: np.random.Generator) -> list[Row]:
    sampled = {name: texts.sample(N_DOMAIN_TEXTS, rng) for name, texts in pool.items()}
    return [
        Row(f"random words {i}", {name: texts[i] for name, texts in sampled.items()}, 0) for i in range(N_DOMAIN_TEXTS)
    ]


def _score(
    model: PreTrainedModel,
    inputs: PromptInputs,
    baseline: PromptingBaseline,
    pool: Mapping[str, FieldTexts],
    test: LabelLogits,
    token_budget: int | None,
) -> dict[str, object]:
    """The row of one calibration; accuracy is null with a reason where it is not defined for the unit."""
    shared = {"split": "test", **baseline.keys}
    try:
        prompts = prior_prompts(inputs, baseline.method, pool)
    except Undefined as undefined:
        return {**shared, "accuracy": None, "n_examples": 0, "n_shots_used": 0, "reason": str(undefined)}
    full = full_logits(model, prompts, token_budget=token_budget)
    check_forward(full.forward_error, str(model.dtype).removeprefix("torch."), baseline.method)
    label_prior = prior(full.logits)
    log_odds = calibrate(test.full, label_prior)
    return {
        **shared,
        "accuracy": float(scores.accuracy(scores.credit(log_odds), test.gold)),
        "n_examples": len(test.gold),
        "n_shots_used": prompts.n_shots_used,
        "reason": None,
        **scores.prediction_columns(log_odds, test.example_id),
        "label_prior": label_prior.tolist(),
        "n_prior_prompts": len(prompts.own_ids),
    }
