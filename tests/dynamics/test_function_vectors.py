"""Function vectors against plain hooks on whole prompts, and a head built by hand that alone carries the task."""

import numpy as np
import pytest
import torch

from dynamics.families import anatomy
from dynamics.mechanisms.ablation import mean_outputs
from dynamics.mechanisms.function_vectors import FUNCTION_VECTOR, FUNCTION_VECTOR_LOG, function_vector_scores
from tests.dynamics.test_ablation import NO, one_route, prompt_set
from tests.dynamics.test_decomposition import ragged_prompts
from tests.dynamics.test_intervention import modules_of
from tests.models import VARIANTS, perturbed


@pytest.mark.parametrize("name", VARIANTS)
def test_effects_are_those_of_plain_hooks_on_whole_prompts(name: str) -> None:
    """The head's mean output in place of its own at the last token, and the softmax over the whole vocabulary."""
    model, prompts = perturbed(VARIANTS[name]), ragged_prompts()
    written = mean_outputs(model, prompts).written
    scores = {own.measure: own for own in function_vector_scores(model, prompts, written, token_budget=64)}
    layer, head = 1, 2
    projection, _ = modules_of(model)[layer]
    w_o, n_heads = anatomy(model).blocks[layer].w_o[head], anatomy(model).n_heads
    mean = written.heads[layer].view(n_heads, -1)[head]

    def edit(_: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[0, -1] += (mean - inputs[0][0, -1].view(n_heads, -1)[head]) @ w_o
        return changed

    def gold(example: int) -> float:
        ids = torch.tensor([prompts.token_ids(example)])
        with torch.inference_mode():
            log_p = torch.log_softmax(model(input_ids=ids).logits[0, -1].double(), -1)
        return float(log_p[prompts.label_ids[prompts.gold[example]]])

    examples = range(len(prompts.gold))
    before = np.array([gold(i) for i in examples])
    handle = projection.register_forward_hook(edit)
    after = np.array([gold(i) for i in examples])
    handle.remove()
    change = {FUNCTION_VECTOR: np.exp(after) - np.exp(before), FUNCTION_VECTOR_LOG: after - before}
    for measure, values in change.items():
        own = scores[measure]
        assert own.values[layer, head] == pytest.approx(values.mean(), abs=2e-4)
        assert own.sd is not None
        assert own.sd[layer, head] == pytest.approx(values.std(ddof=1), abs=2e-4)
        assert (own.n, own.chance) == (len(values), 0.0)


def test_a_head_that_carries_the_task_alone_raises_the_answer_and_no_other_does() -> None:
    """L0H0 writes the answer of the texts of one label; into those of the other label it carries that answer."""
    model, prompts = one_route(), prompt_set()
    of_no = [i for i, gold in enumerate(prompts.gold) if prompts.label_ids[gold] == NO]
    written = mean_outputs(model, prompts.first_test(len(of_no))).written
    assert {prompts.label_ids[gold] for gold in prompts.first_test(len(of_no)).gold} == {NO}
    for measure in function_vector_scores(model, prompts, written):
        change = measure.values.copy()
        own, change[0, 0] = change[0, 0], 0
        assert np.abs(change).max() < 1e-6
        assert own < 0, "NO is carried into texts of YES, where it is wrong"


def test_the_first_test_rows_keep_demonstrations_and_leave_training_rows_out() -> None:
    prompts = ragged_prompts()
    split = ("train", *prompts.split[1:])
    some = type(prompts)(**{**vars(prompts), "split": split}).first_test(2)
    assert (some.shared_ids, some.own_ids) == (prompts.shared_ids, prompts.own_ids[1:3])
    assert (some.split, some.gold, some.example_id) == (("test",) * 2, prompts.gold[1:3], prompts.example_id[1:3])
