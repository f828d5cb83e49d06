"""Standard and PromptS: against one-by-one computations, on planted neighbours, in short contexts, and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics import scores
from dynamics.decomposition import decompose
from dynamics.errors import FailedCheck, PromptError
from dynamics.full_model import FullLogits
from dynamics.methods import prompting
from dynamics.methods.baselines import PROMPT_SELECTION, STANDARD, PromptingBaseline
from dynamics.methods.nearest import EmbeddingCache, checkpoint_embedder
from dynamics.methods.prompting import PromptInputs, baseline_scores, selected_prompts, standard_prompts
from dynamics.partition import select_rows, shuffle_last_two_apart, task_rng
from dynamics.prompt_encoder import prompt_encoder, prompt_text
from dynamics.prompts import build_prompts
from dynamics.tasks import Row, Task, TaskRows, Template, get_task

SECOND = ("a", "about", "again", "and", "here", "in", "it", "now", "of")
TEMPLATE = Template("plain", "{text} {label}", " . ")


def rows_of(n: int, prefix: str) -> tuple[Row, ...]:
    """Rows of three to five words, ragged, of two labels in turn."""
    texts = [f"moving {SECOND[i % 9]} {SECOND[i // 9]}" + " dull" * (i % 3) for i in range(n)]
    return tuple(Row(f"{prefix}{i}", {"text": text}, i % 2) for i, text in enumerate(texts))


ROWS = TaskRows(rows_of(40, "p"), rows_of(20, "t"))
TASK = Task("toy", 2, ("World", "Sports"), (TEMPLATE,), lambda _: ROWS, "made here")


def ask(tokenizer: PreTrainedTokenizerBase, task: Task = TASK, *, n_shots: int = 4, **changes) -> PromptInputs:
    """Twenty test rows, four demonstrations and twenty training rows."""
    chosen = select_rows(task, task.load(None), demo_seed=1, n_shots=n_shots, n_test=20, n_train=20)
    return replace(PromptInputs(task, task.templates[0].name, tokenizer, chosen, demo_seed=1), **changes)


def planted_angle(text: str) -> float:
    return float(np.exp(len(text) / 20)) / 10


def by_length(texts) -> np.ndarray:
    """A planted embedding: the angle grows with the text's length, so that no two lengths are equally far from one."""
    angle = np.array([planted_angle(text) for text in texts])
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def test_k_counts_the_demonstrations_and_takes_training_rows_in_order(tokenizer: PreTrainedTokenizerBase) -> None:
    inputs = ask(tokenizer)
    assert inputs.labelled(12) == inputs.chosen.demonstrations + inputs.chosen.train[:8]
    assert inputs.labelled(24) == inputs.chosen.demonstrations + inputs.chosen.train
    assert inputs.labelled(4) == inputs.labelled(3) == inputs.chosen.demonstrations
    assert not {row.example_id for row in inputs.labelled(24)} & {row.example_id for row in inputs.chosen.test}


@pytest.mark.parametrize("n_labelled", [4, 12, 24])
def test_standard_is_the_k_shot_prompt_on_those_rows(
    n_labelled: int, neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What build_prompts makes of them, when they are the demonstrations that it draws."""
    inputs = ask(tokenizer)
    prompts = standard_prompts(inputs, n_labelled)
    shots = shuffle_last_two_apart(inputs.labelled(n_labelled), task_rng(TASK, STANDARD, 1))
    assert {row.example_id for row in shots} == {row.example_id for row in inputs.labelled(n_labelled)}
    assert shots[-1].gold != shots[-2].gold
    drawn = replace(inputs.chosen, demonstrations=shots, train=())
    monkeypatch.setattr("dynamics.prompts.select_rows", lambda *_, **__: drawn)
    expected = build_prompts(TASK, "plain", tokenizer, demo_seed=1, n_shots=n_labelled, n_test=20)
    assert prompts == expected
    assert prompts.n_shots_used == n_labelled
    assert prompts.example_id == tuple(row.example_id for row in inputs.chosen.test)
    (row,) = baseline_scores(
        neox, inputs, [PromptingBaseline(STANDARD, n_labelled)], EmbeddingCache(by_length), token_budget=90
    )
    full = decompose(neox, expected).full
    assert row["accuracy"] == scores.accuracy(scores.credit(full), np.array(expected.gold))


def test_selected_demonstrations_are_the_planted_neighbours(tokenizer: PreTrainedTokenizerBase) -> None:
    inputs = ask(tokenizer)
    prompts = selected_prompts(inputs, 12, EmbeddingCache(by_length))
    labelled = inputs.labelled(12)
    orders = set()
    for i, row in enumerate(inputs.chosen.test):
        own = planted_angle(row.fields["text"])
        near = sorted(labelled, key=lambda other: abs(planted_angle(other.fields["text"]) - own))
        text = prompt_text(TASK, TEMPLATE, near[:4][::-1], row, prompts.label_words)
        assert list(prompts.token_ids(i)) == tokenizer(text)["input_ids"]
        orders.add(tuple(other.example_id for other in near[:4]))
    assert len(orders) > 3
    assert prompts.shared_ids == ()
    assert prompts.gold == tuple(row.gold for row in inputs.chosen.test)
    assert prompts.n_shots_used == 4


@pytest.mark.parametrize("token_budget", [1, 60, 10_000])
def test_prompt_selection_equals_one_by_one(
    token_budget: int, neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Embeddings, neighbours, prompts and answers of one example at a time, by ordinary Hugging Face passes."""
    inputs = ask(tokenizer, get_task("sentiment"))
    labelled = inputs.labelled(12)
    pool = [mean_state(neox, tokenizer, row) for row in labelled]
    ids = selected_prompts(inputs, 12, EmbeddingCache(checkpoint_embedder(neox, tokenizer))).label_ids
    words = prompt_encoder(inputs.task, inputs.task.templates[0], tokenizer, 1, (), labelled[0]).words
    correct = []
    for row in inputs.chosen.test:
        own = mean_state(neox, tokenizer, row)
        cosine = [float(own @ other / (own.norm() * other.norm())) for other in pool]
        shots = [labelled[i] for i in np.argsort(cosine)[-4:]]
        token_ids = tokenizer(prompt_text(inputs.task, inputs.task.templates[0], shots, row, words))["input_ids"]
        with torch.no_grad():
            logits = neox(torch.tensor([token_ids])).logits[0, -1, list(ids)].numpy()
        correct.append(scores.credit(logits)[row.gold])
    vectors = EmbeddingCache(checkpoint_embedder(neox, tokenizer, token_budget=token_budget))
    (scored,) = baseline_scores(
        neox, inputs, [PromptingBaseline(PROMPT_SELECTION, 12, "checkpoint")], vectors, token_budget=token_budget
    )
    assert scored["accuracy"] == pytest.approx(np.mean(correct))
    assert (scored["n_examples"], scored["n_shots_used"], scored["reason"]) == (20, 4, None)


def mean_state(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, row: Row) -> torch.Tensor:
    """The mean final hidden state of a row's fields."""
    ids = torch.tensor([tokenizer("\n".join(row.fields.values()))["input_ids"]])
    with torch.no_grad():
        return model(ids, output_hidden_states=True).hidden_states[-1][0].mean(0)


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, 0.0)])
def test_a_model_that_copies_its_last_demonstration_depends_on_selection(
    sign: int,
    expected: float,
    neox: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Positive control: right where near is alike, wrong where near is unlike. Only test texts begin with warm."""
    inputs = ask(tokenizer)
    test = [replace(row, fields={"text": f"warm {row.fields['text']}"}) for row in inputs.chosen.test]
    gold = {row.fields["text"]: row.gold for row in (*ROWS.pool, *test)}

    def embed(texts) -> np.ndarray:
        return np.array([[(2 * gold[t] - 1) * (sign if t.startswith("warm") else 1), 0.1] for t in texts])

    def copies(_, prompts, **__) -> FullLogits:
        last = [[token for token in own if token in prompts.label_ids][-1] for own in prompts.own_ids]
        return FullLogits(np.equal(np.array(last)[:, None], prompts.label_ids).astype(np.float32), 0.0)

    monkeypatch.setattr(prompting, "full_logits", copies)
    inputs = replace(inputs, chosen=replace(inputs.chosen, test=tuple(test)))
    (row,) = baseline_scores(neox, inputs, [PromptingBaseline(PROMPT_SELECTION, 12)], EmbeddingCache(embed))
    assert row["accuracy"] == expected


@pytest.mark.parametrize(("room", "standard", "selected"), [(200, 12, 4), (60, 9, 4), (22, 2, 2), (9, 0, 0)])
def test_demonstrations_are_dropped_to_fit_and_counted(
    room: int, standard: int, selected: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    inputs = ask(tokenizer, max_length=room)
    for prompts, used in (
        (standard_prompts(inputs, 12), standard),
        (selected_prompts(inputs, 12, EmbeddingCache(by_length)), selected),
    ):
        lengths = [len(prompts.token_ids(i)) for i in range(len(prompts.own_ids))]
        assert max(lengths) <= room
        assert len(lengths) == 20
        assert prompts.n_shots_used == used


def test_selection_drops_the_farthest_of_the_long_prompts_only(tokenizer: PreTrainedTokenizerBase) -> None:
    whole = selected_prompts(ask(tokenizer), 12, EmbeddingCache(by_length))
    cut = selected_prompts(ask(tokenizer, max_length=27), 12, EmbeddingCache(by_length))
    lost = 0
    for before, after in zip(whole.own_ids, cut.own_ids, strict=True):
        assert before[len(before) - len(after) :] == after
        assert (before == after) == (len(before) <= 27)
        lost += before != after
    assert 0 < lost < 20


def test_a_row_too_long_for_any_prompt_is_skipped_by_both_as_by_the_unit(tokenizer: PreTrainedTokenizerBase) -> None:
    long = Row("long", {"text": "warm " * 70 + "moving"}, 0)
    task = replace(TASK, load=lambda _: replace(ROWS, test=(*ROWS.test[1:], long)))
    inputs = ask(tokenizer, task, max_length=60)
    unit = build_prompts(task, "plain", tokenizer, demo_seed=1, n_shots=4, n_test=20, max_length=60)
    assert [skipped[1] for skipped in unit.skipped] == ["long"]
    for prompts in (standard_prompts(inputs, 12), selected_prompts(inputs, 12, EmbeddingCache(by_length))):
        assert prompts.skipped == unit.skipped
        assert prompts.example_id == unit.example_id
        assert prompts.gold == unit.gold


def test_when_no_row_fits_it_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(PromptError, match="task toy, template plain: no test row fits the model's 2 tokens"):
        selected_prompts(ask(tokenizer, max_length=2), 12, EmbeddingCache(by_length))


@pytest.mark.parametrize(
    ("n_shots", "baseline", "reason"),
    [
        (4, PromptingBaseline(STANDARD, 2), "K = 2 labelled examples; the unit has 4 demonstrations and 20 more"),
        (
            4,
            PromptingBaseline(PROMPT_SELECTION, 3),
            "K = 3 labelled examples; the unit has 4 demonstrations and 20 more",
        ),
        (4, PromptingBaseline(STANDARD, 25), "K = 25 labelled examples; the unit has 4 demonstrations and 20 more"),
        (0, PromptingBaseline(PROMPT_SELECTION, 12), "a prompt without demonstrations has none to select"),
    ],
)
def test_a_setting_without_meaning_is_null_and_says_why(
    n_shots: int, baseline: PromptingBaseline, reason: str, neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    (row,) = baseline_scores(neox, ask(tokenizer, n_shots=n_shots), [baseline], EmbeddingCache(by_length))
    assert row["accuracy"] is None
    assert row["reason"] == reason


def test_zero_shot_units_have_a_standard_prompt(neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    (row,) = baseline_scores(
        neox, ask(tokenizer, n_shots=0), [PromptingBaseline(STANDARD, 12)], EmbeddingCache(by_length)
    )
    assert row["n_shots_used"] == 12
    assert row["reason"] is None


@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_forward_pass_that_fails_its_check_is_an_error(
    error: float, neox: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = FullLogits(np.zeros((20, 2)), error)
    monkeypatch.setattr(prompting, "full_logits", lambda *_, **__: wrong)
    with pytest.raises(FailedCheck, match="standard, K = 12: the batched pass differs from the model's own logits"):
        baseline_scores(neox, ask(tokenizer), [PromptingBaseline(STANDARD, 12)], EmbeddingCache(by_length))


def test_fit_ids_tell_every_setting_apart() -> None:
    settings = [
        PromptingBaseline(STANDARD, 12),
        PromptingBaseline(STANDARD, 24),
        PromptingBaseline(PROMPT_SELECTION, 12),
        PromptingBaseline(PROMPT_SELECTION, 12, "minilm"),
        PromptingBaseline(PROMPT_SELECTION, 12, "minilm", "another hash"),
    ]
    assert len({baseline.fit_id for baseline in settings}) == 5
    assert PromptingBaseline(STANDARD, 12).fit_id == settings[0].fit_id
