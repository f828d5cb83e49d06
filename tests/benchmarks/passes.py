"""The decomposition against a plain Hugging Face pass that gives the last position's logits and no parts, and hooks."""

from collections.abc import Iterator
from functools import partial

from transformers import PreTrainedModel

from dynamics.decomposition import decompose, relative_error
from dynamics.prompts import PromptSet
from tests.benchmarks.hooks import by_hooks
from tests.benchmarks.timing import Part, Row, Times, in_turns
from tests.benchmarks.workloads import (
    TOKENS,
    n_padded,
    n_tokens,
    plain_batches,
    plain_pass,
    pythia,
    real_prompts,
    some,
    unshared,
)

N_PROMPTS, N_WHOLE, N_HOOKS = 64, {"70m": 64, "160m": 32}, {"70m": 16, "160m": 8}
"""Prompts with shared demonstrations, run whole, by hooks. Of fewer, those that are run again are a larger part."""
WARM_UP = 4
RUNS, LEAST = 5, {"70m": 3, "160m": 2}
"""At most, and at least."""


def passes() -> Iterator[Row]:
    """SST-2 in every way, RTE with shared demonstrations."""
    for size in N_HOOKS:
        prompts = real_prompts("sst2", N_PROMPTS)
        error = _difference(pythia(size), some(prompts, range(WARM_UP)))
        times = _in_turns(size, prompts, whole=N_WHOLE[size], hooks=N_HOOKS[size])
        on = f"{size}, {N_WHOLE[size]} of sst2; plain by batches"
        yield Row("whole prompts / plain", on, times.ratio("whole", "plain"), 1.10, note=times.note("whole", "plain"))
        yield _shared(size, prompts, times)
        on = f"{size}, {N_HOOKS[size]} of sst2; plain by batches"
        yield Row("hooks / plain", on, times.ratio("hooks", "plain"), note=times.note("hooks", "plain"))
        on = f"{size}, {N_HOOKS[size]} of sst2, ours {N_PROMPTS}"
        note = f"difference {error:.1e}; {times.note('hooks', 'shared')}"
        yield Row("hooks / ours", on, times.ratio("hooks", "shared"), note=note)
    for size in N_HOOKS:
        prompts = real_prompts("rte", N_PROMPTS)
        yield _shared(size, prompts, _in_turns(size, prompts))


def _shared(size: str, prompts: PromptSet, times: Times) -> Row:
    """Demonstrations computed once: at most 1.25 times the share of tokens that are new."""
    every, new = n_tokens(prompts)
    on = f"{size}, {N_PROMPTS} of {prompts.task}; plain by batches"
    note = f"{new / every:.3f} of the tokens are new; {times.note('shared', 'plain')}"
    target = 1.25 * new / every
    return Row("shared demonstrations / plain", on, times.ratio("shared", "plain"), target, note=note)


def _in_turns(size: str, prompts: PromptSet, whole: int = 0, hooks: int = 0) -> Times:
    """A batch of the plain pass a round, and the decomposition; of the first `whole` and `hooks` prompts the others.

    The plain pass takes most of the seconds, and its batches take as many each as they have tokens, so it is timed a
    batch at a time. Seconds of all are for as many tokens as the plain pass reads of `prompts`, pads included.
    """
    model, tokens = pythia(size), n_padded(prompts)

    def part(run: partial, of: PromptSet) -> Part:
        return Part(run, n_padded(of) / tokens)

    methods = {
        "plain": [part(partial(plain_pass, model, batch), batch) for batch in plain_batches(prompts)],
        "shared": [Part(partial(decompose, model, prompts, token_budget=TOKENS), 1.0)],
    }
    if whole:
        given = some(prompts, range(whole))
        methods["whole"] = [part(partial(decompose, model, unshared(given), token_budget=TOKENS), given)]
    if hooks:
        given = some(prompts, range(hooks))
        methods["hooks"] = [part(partial(by_hooks, model, given), given)]
    few = some(prompts, range(WARM_UP))

    def warm_up() -> None:
        plain_pass(model, few)
        decompose(model, few, token_budget=TOKENS)

    return in_turns(methods, RUNS, least=LEAST[size], warm_up=warm_up)


def _difference(model: PreTrainedModel, prompts: PromptSet) -> float:
    """Largest difference between the contributions of heads by both ways, relative to the largest."""
    ours = decompose(model, prompts, token_budget=TOKENS)
    heads = [i for i, component in enumerate(ours.components) if component.kind == "head"]
    error = relative_error(by_hooks(model, prompts), ours.contributions[:, heads])
    assert error < 1e-4, f"hooks give other contributions: {error}"
    return error
