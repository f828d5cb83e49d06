"""The decomposition against a plain Hugging Face pass that gives the last position's logits and no parts."""

from collections.abc import Iterator
from functools import partial

from transformers import PreTrainedModel

from dynamics.decomposition import decompose
from dynamics.prompts import PromptSet
from tests.benchmarks.timing import Row, Times, in_turns
from tests.benchmarks.workloads import TOKENS, n_tokens, plain_pass, pythia, real_prompts, unshared


def whole_prompts() -> Iterator[Row]:
    """Every prompt run whole, as the plain pass runs it: what splitting the logits costs."""
    for size, n_prompts in (("70m", 64), ("160m", 32)):
        model, prompts = pythia(size), real_prompts("sst2", n_prompts)
        times = _against_plain(model, prompts, unshared(prompts), runs=7)
        on = f"{size}, {n_prompts} of sst2, 7 runs"
        yield Row("whole prompts / plain", on, times.ratio("ours", "plain"), 1.10, note=times.note("ours", "plain"))


def shared_demonstrations() -> Iterator[Row]:
    """Demonstrations computed once: at most 1.25 times the share of tokens that are new."""
    for size, task, runs in (("70m", "sst2", 5), ("70m", "rte", 5), ("160m", "sst2", 3), ("160m", "rte", 3)):
        prompts = real_prompts(task, 64)
        times = _against_plain(pythia(size), prompts, prompts, runs)
        every, new = n_tokens(prompts)
        on = f"{size}, 64 of {task}, {runs} runs"
        note = f"{new / every:.3f} of the tokens are new; {times.note('ours', 'plain')}"
        target = 1.25 * new / every
        yield Row("shared demonstrations / plain", on, times.ratio("ours", "plain"), target, note=note)


def _against_plain(model: PreTrainedModel, prompts: PromptSet, given: PromptSet, runs: int) -> Times:
    """Plain passes over `prompts` and decompositions of `given`, the same prompts."""
    ours = partial(decompose, model, given, token_budget=TOKENS)
    return in_turns({"plain": partial(plain_pass, model, prompts), "ours": ours}, runs)
