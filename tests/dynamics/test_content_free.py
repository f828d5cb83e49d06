"""Label-free calibrations: by hand on strings, their prompts, what they leave out, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics import scores
from dynamics.errors import FailedCheck, PromptError
from dynamics.full_model import FullLogits
from dynamics.methods import content_free
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.content_free import calibration_scores, prior_prompts, texts_by_field
from dynamics.methods.label_free import CONTENT_FREE, CONTEXTUAL, DOMAIN_CONTEXT, LABEL_FREE
from dynamics.methods.prompting import PromptInputs
from dynamics.partition import select_rows
from dynamics.prompts import build_prompts
from dynamics.reference import corpus
from dynamics.reference.tokenizer import build_tokenizer
from dynamics.tasks import Row, Task, TaskRows, Template, get_task
from dynamics.unit_arrays import LabelLogits
from tests.models import tiny_neox
from tests.real_rows import REAL_TASKS, needs_real_rows, neox_tokenizer, real_rows

POOL_WORDS = {"left": ("bank", "chip", "coach", "goal"), "right": ("merger", "network", "profit", "robot", "treaty")}
TEST_WORDS = ("awful", "bright")
TEMPLATES = (
    Template("pair", "{left} so {right} means {label}", " . "),
    Template("bare", "{left} {right} {label}", " . "),
    Template("only", "{right} {label}", " . "),
)


def pool_row(i: int) -> Row:
    """Two words of the left field and, on average, three and a half of the right one."""
    left, right = POOL_WORDS["left"], POOL_WORDS["right"]
    return Row(f"p{i}", {"left": f"{left[i % 4]} {left[i // 4 % 4]}", "right": " ".join(right[: 2 + i % 4])}, i % 2)


ROWS = TaskRows(
    tuple(map(pool_row, range(48))),
    tuple(
        Row(f"t{i}", {"left": TEST_WORDS[i % 2], "right": f"{TEST_WORDS[i // 2 % 2]} now"}, i % 2) for i in range(20)
    ),
)
TASK = Task("toy", 2, ("World", "Sports"), TEMPLATES, lambda _: ROWS, "made here")
POOL = texts_by_field(ROWS.pool)


@pytest.fixture(scope="module")
def wide() -> PreTrainedTokenizerBase:
    """The reference suite's tokenizer with the words of every content-free text."""
    return build_tokenizer([*corpus.vocabulary(), *(text for text in CONTENT_FREE if text)], 256)


@pytest.fixture(scope="module")
def model(wide: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A tiny model of that vocabulary."""
    return tiny_neox(len(wide), parallel=True)


def ask(tokenizer: PreTrainedTokenizerBase, template: str = "pair", *, n_shots: int = 4, **changes) -> PromptInputs:
    """Twenty test rows after four demonstrations."""
    seed = changes.get("demo_seed", 1)
    chosen = select_rows(TASK, ROWS, demo_seed=seed, n_shots=n_shots, n_test=20, n_train=0)
    return replace(PromptInputs(TASK, template, tokenizer, chosen, demo_seed=1), **changes)


def texts_of(inputs: PromptInputs, method: str) -> list[str]:
    """The prompts without content as text."""
    prompts = prior_prompts(inputs, method, POOL)
    return [inputs.tokenizer.decode(prompts.token_ids(i)) for i in range(len(prompts.own_ids))]


def answers(seed: int = 0) -> LabelLogits:
    """Planted logits of the test rows, far enough from balance for a prior to change predictions."""
    logits = np.random.default_rng(seed).normal(size=(20, 2)).astype(np.float32)
    return LabelLogits([row.example_id for row in ROWS.test], np.array([row.gold for row in ROWS.test]), logits)


def label_probabilities(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> np.ndarray:
    """Of World and Sports after a text, by an ordinary Hugging Face pass."""
    ids = [tokenizer(f"{text} {word}")["input_ids"][-1] for word in TASK.label_words]
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1, ids].double().numpy()
    return np.exp(logits) / np.exp(logits).sum()


def shots_text(inputs: PromptInputs, pattern: str) -> str:
    """The demonstrations as text, written out without the code under test."""
    shots = inputs.chosen.demonstrations
    return "".join(pattern.format(**s.fields, label=TASK.label_words[s.gold]) + " . " for s in shots)


QUERIES = {
    "pair": ["N/A so N/A means", "[MASK] so [MASK] means", " so  means"],
    "bare": ["N/A N/A", "[MASK] [MASK]", ""],
}


@pytest.mark.parametrize("template", QUERIES)
def test_contextual_calibration_by_hand(template: str, model: PreTrainedModel, wide: PreTrainedTokenizerBase) -> None:
    inputs, test = ask(wide, template), answers()
    before = shots_text(inputs, TASK.template(template).text)
    expected = np.mean([label_probabilities(model, wide, (before + query).rstrip()) for query in QUERIES[template]], 0)
    (row,) = calibration_scores(model, inputs, [PromptingBaseline(CONTEXTUAL, 0)], POOL, test, token_budget=60)
    assert row["label_prior"] == pytest.approx(expected.tolist(), rel=1e-4)
    assert (row["n_prior_prompts"], row["n_shots_used"], row["n_examples"], row["reason"]) == (3, 4, 20, None)
    odds = np.exp(test.full) / np.exp(test.full).sum(-1, keepdims=True) / expected
    by_id = np.argsort(np.array(test.example_id))
    assert row["predictions"] == odds.argmax(-1)[by_id].tolist()
    assert row["accuracy"] == (odds.argmax(-1) == test.gold).mean()
    assert row["predictions"] != test.full.argmax(-1)[by_id].tolist()


def test_domain_context_calibration_is_the_mean_over_its_prompts_one_by_one(
    model: PreTrainedModel, wide: PreTrainedTokenizerBase
) -> None:
    inputs, test = ask(wide), answers()
    texts = texts_of(inputs, DOMAIN_CONTEXT)
    expected = np.mean([label_probabilities(model, wide, text) for text in texts], 0)
    (row,) = calibration_scores(model, inputs, [PromptingBaseline(DOMAIN_CONTEXT, 0)], POOL, test, token_budget=60)
    assert row["label_prior"] == pytest.approx(expected.tolist(), rel=1e-4)
    assert row["n_prior_prompts"] == 20
    odds = np.exp(test.full) / np.exp(test.full).sum(-1, keepdims=True) / expected
    assert row["accuracy"] == scores.accuracy(scores.credit(odds), test.gold)


def test_random_words_are_of_each_fields_pool_and_as_many_as_it_has_on_average(wide: PreTrainedTokenizerBase) -> None:
    inputs = ask(wide)
    before, texts = shots_text(inputs, TEMPLATES[0].text), texts_of(inputs, DOMAIN_CONTEXT)
    assert len(texts) == 20
    assert len(set(texts)) > 15
    for text in texts:
        assert text.startswith(before)
        words = text.removeprefix(before).split()
        assert (words[2], words[-1]) == ("so", "means")
        assert set(words[:2]) <= set(POOL_WORDS["left"])
        assert set(words[3:-1]) <= set(POOL_WORDS["right"])
        assert len(words[3:-1]) == 4  # 3.5, rounded to even


def test_words_are_sampled_as_often_as_they_occur() -> None:
    field = texts_by_field([Row("a", {"x": "w w w v"}, 0), Row("b", {"x": ""}, 0), Row("c", {"x": " u  w "}, 0)])["x"]
    words = ["w", "w", "w", "v", "u", "w"]
    expected = [[words[i] for i in row] for row in np.random.default_rng(3).integers(6, size=(500, 2))]
    assert [text.split() for text in field.sample(500, np.random.default_rng(3))] == expected
    assert texts_by_field([Row("a", {"x": ""}, 0)])["x"].sample(2, np.random.default_rng(0)) == ["", ""]
    assert texts_by_field([Row("a", {"x": "w"}, 0), *[Row("b", {"x": ""}, 0)] * 9])["x"].sample(
        1, np.random.default_rng(0)
    ) == ["w"]


def test_random_words_depend_on_the_seed_alone(wide: PreTrainedTokenizerBase) -> None:
    def queries(**changes: int) -> list[str]:
        inputs = ask(wide, n_shots=0, **changes)
        return texts_of(inputs, DOMAIN_CONTEXT)

    assert queries() == queries()
    assert queries() != queries(demo_seed=2)


def test_texts_that_make_no_prompt_are_left_out(neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """The reference suite's tokenizer knows neither N/A nor [MASK]."""
    inputs = ask(tokenizer)
    assert texts_of(inputs, CONTEXTUAL) == [shots_text(inputs, TEMPLATES[0].text) + "so means"]
    (row,) = calibration_scores(neox, inputs, [PromptingBaseline(CONTEXTUAL, 0)], POOL, answers())
    assert (row["n_prior_prompts"], row["reason"]) == (1, None)


@pytest.mark.parametrize("template", ["bare", "only"])
def test_where_no_text_makes_a_prompt_the_row_is_null_and_says_why(
    template: str, neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Without demonstrations the empty text leaves nothing, and an unknown word may be the first of its prompt."""
    inputs = ask(tokenizer, template, n_shots=0)
    both = [PromptingBaseline(method, 0) for method in LABEL_FREE]
    contextual, domain = calibration_scores(neox, inputs, both, POOL, answers())
    assert (contextual["accuracy"], contextual["n_examples"]) == (None, 0)
    assert str(contextual["reason"]).startswith("no content-free text makes a prompt; the last: task toy, template")
    assert domain["reason"] is None


def test_prompts_that_exceed_the_context_are_not_cut(model: PreTrainedModel, wide: PreTrainedTokenizerBase) -> None:
    longest = max(len(wide(text)["input_ids"]) for text in texts_of(ask(wide), DOMAIN_CONTEXT))
    texts_of(ask(wide, max_length=longest), DOMAIN_CONTEXT)
    inputs = ask(wide, max_length=longest - 1)
    contextual, domain = calibration_scores(
        model, inputs, [PromptingBaseline(method, 0) for method in LABEL_FREE], POOL, answers()
    )
    assert domain["accuracy"] is None
    assert domain["reason"] == f"a prompt without content has {longest} tokens; the model reads {longest - 1}"
    assert contextual["reason"] is None


def test_random_words_that_the_tokenizer_does_not_know_are_an_error(tokenizer: PreTrainedTokenizerBase) -> None:
    strange = texts_by_field([replace(row, fields={**row.fields, "left": "zeppelin"}) for row in ROWS.pool])
    with pytest.raises(PromptError, match="prompt of random words 0 holds words that the tokenizer does not know"):
        prior_prompts(ask(tokenizer), DOMAIN_CONTEXT, strange)


@pytest.mark.parametrize("method", LABEL_FREE)
def test_they_have_the_label_tokens_of_the_unit_and_share_its_demonstrations(
    method: str, wide: PreTrainedTokenizerBase
) -> None:
    inputs = ask(wide)
    prompts = prior_prompts(inputs, method, POOL)
    assert prompts.label_words == TASK.label_words
    assert list(prompts.label_ids) == [wide(f"so {word}")["input_ids"][-1] for word in TASK.label_words]
    assert wide.decode(prompts.shared_ids).startswith(shots_text(inputs, TEMPLATES[0].text).rstrip())


@pytest.mark.parametrize("method", LABEL_FREE)
@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_forward_pass_that_fails_its_check_is_an_error(
    method: str,
    error: float,
    model: PreTrainedModel,
    wide: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content_free, "full_logits", lambda *_, **__: FullLogits(np.zeros((20, 2)), error))
    with pytest.raises(FailedCheck, match=f"{method}: the batched pass differs from the model's own logits"):
        calibration_scores(model, ask(wide), [PromptingBaseline(method, 0)], POOL, answers())


@needs_real_rows
@pytest.mark.parametrize("n_shots", [0, 4])
@pytest.mark.parametrize(
    ("name", "template"), [(name, t.name) for name in REAL_TASKS for t in get_task(name).templates]
)
def test_real_tasks_have_every_prompt_in_every_template(name: str, template: str, n_shots: int) -> None:
    """With a tokenizer that knows every text, and many fields; random words are those of the pool."""
    task, rows, tokenizer = get_task(name), real_rows(name), neox_tokenizer()
    asked = {"demo_seed": 0, "n_shots": n_shots, "n_test": 24, "n_train": 4}
    inputs = PromptInputs(task, template, tokenizer, select_rows(task, rows, **asked), 0, 2048)
    unit = build_prompts(task, template, tokenizer, rows=rows, **asked)
    contextual, domain = (prior_prompts(inputs, method, texts_by_field(rows.pool)) for method in LABEL_FREE)
    assert {(p.label_ids, p.label_words) for p in (contextual, domain)} == {(unit.label_ids, unit.label_words)}
    pattern, shots = task.template(template), inputs.chosen.demonstrations
    for i, text in enumerate(CONTENT_FREE):
        filled = [pattern.text.format(**row.fields, label=unit.label_words[row.gold]) for row in shots]
        query = pattern.text.removesuffix(" {label}").format(**dict.fromkeys(rows.test[0].fields, text)).rstrip()
        assert list(contextual.token_ids(i)) == tokenizer(pattern.separator.join([*filled, query]))["input_ids"]
    assert len({domain.token_ids(i) for i in range(20)}) == 20
    lengths = [len(unit.own_ids[i]) for i in range(len(unit.own_ids))]
    assert 0.5 < np.mean([len(ids) for ids in domain.own_ids]) / np.mean(lengths) < 2.5
