"""Growth of seconds with examples, components and labels, as the exponent of a power law; with shots, only reported."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from dynamics.decomposition import decompose, split_logits, unembedding_projection
from dynamics.families import anatomy
from dynamics.forward.last_token import last_token
from dynamics.prompts import PromptSet
from tests.benchmarks.timing import Row, in_turns
from tests.benchmarks.workloads import TOKENS, model_of, n_tokens, neox_config, pythia, real_prompts

RUNS, MAX_EXPONENT = 5, 1.05
LAYERS = (3, 6, 12, 24)
ALL_COMPONENTS = tuple(1 + 10 * n for n in LAYERS)
"""Of models with 8 heads: the embedding, and of each layer the heads, the MLP and the attention's bias."""


def exponents() -> Iterator[Row]:
    """Examples and components on whole decompositions, labels on what they change: the split of the logits."""
    yield _row("examples", *_by_examples(), MAX_EXPONENT)
    yield _row("components", *_by_layers(512), MAX_EXPONENT, ALL_COMPONENTS)
    yield _row("labels", *_by_labels(), MAX_EXPONENT)
    yield _row("components, small", *_by_layers(256), None, ALL_COMPONENTS)
    yield from _by_shots()


def _row(
    name: str, on: str, methods: Mapping[int, Callable[[], object]], target: float | None, all_sizes: Sequence[int] = ()
) -> Row:
    """A row with the exponent of seconds over sizes, the keys of `methods`; that over `all_sizes` in its note."""
    warm_up = next(iter(methods.values()))
    times = in_turns({str(size): run for size, run in methods.items()}, RUNS, warm_up=warm_up)
    seconds = np.array([times.wall[str(size)] for size in methods])  # (size, run)
    median = np.median(seconds, 1)
    by_run = np.polyfit(np.log(list(methods)), np.log(seconds), 1)[0]
    slope = float(np.polyfit(np.log(list(methods)), np.log(median), 1)[0])
    multiples = ", ".join(f"{size}: {m:.2f}" for size, m in zip(methods, median / median[0], strict=True))
    note = (
        f"{times.n_runs} runs, {by_run.min():.3f} to {by_run.max():.3f}; seconds as multiples of the first, {multiples}"
    )
    if all_sizes:
        over_all = np.polyfit(np.log(all_sizes), np.log(median), 1)[0]
        note += f"; over all {all_sizes[0]} to {all_sizes[-1]}: {over_all:.3f}"
    return Row(f"growth with {name}, exponent", on, slope, target, note=note)


def random_prompts(n_examples: int, n_labels: int = 2, own: int = 24, shared: int = 96) -> PromptSet:
    """Random token ids of one length."""
    rng = np.random.default_rng(0)
    return PromptSet(
        task="random",
        template="random",
        demo_seed=0,
        n_shots=0,
        label_words=tuple(map(str, range(n_labels))),
        label_ids=tuple(range(10, 10 + n_labels)),
        shared_ids=tuple(rng.integers(2, 900, shared).tolist()),
        own_ids=tuple(tuple(rng.integers(2, 900, own).tolist()) for _ in range(n_examples)),
        split=("test",) * n_examples,
        example_id=tuple(map(str, range(n_examples))),
        gold=(0,) * n_examples,
    )


def _by_examples() -> tuple[str, dict[int, Callable[[], object]]]:
    model = model_of(neox_config(6, 8, 256, 1_000))
    sizes = (32, 64, 128, 256)
    methods = {n: partial(decompose, model, random_prompts(n), token_budget=TOKENS) for n in sizes}
    return "6 layers x 256, 24 own and 96 shared tokens", methods


def _by_layers(d_model: int) -> tuple[str, dict[int, Callable[[], object]]]:
    """Layers of one width, their components counted without the share of the last block that is not computed.

    There W_O and the MLP run at one of 24 tokens, so three layers cost less than an eighth of 24. Over all components
    the exponent was 1.04 to 1.14 at width 512 with the cut, and 1.02 without it: a cost in proportion to the layers. At
    512 three layers (38 MB) are beyond a cache of 32 MB; at 256 (9 MB) they are within.
    """
    n_own = 24
    left_out = 9 / 12 * (n_own - 1) / n_own  # of a block's 12 d_model^2 weights W_O and the MLP have 9
    models = [model_of(neox_config(n_layers, 8, d_model, 1_000)) for n_layers in LAYERS]
    prompts = random_prompts(64, own=n_own)
    methods = {
        round(n - 10 * left_out): partial(decompose, model, prompts, token_budget=TOKENS)
        for n, model in zip(ALL_COMPONENTS, models, strict=True)
    }
    return f"3 to 24 layers x {d_model}, 64 prompts; {left_out:.2f} of a layer left out", methods


def _by_labels() -> tuple[str, dict[int, Callable[[], object]]]:
    model = model_of(neox_config(6, 8, 512, 1_000))
    parts = anatomy(model)
    with torch.inference_mode():
        last = last_token(parts, random_prompts(128, own=8, shared=8).own_ids)
        projections = {n: unembedding_projection(parts, tuple(range(10, 10 + n))) for n in (2, 4, 8, 16, 32)}

    def splits(n_labels: int) -> None:
        for _ in range(30):  # one takes a few milliseconds, too short to time
            split_logits(parts, projections[n_labels], last)

    methods = {n: partial(splits, n) for n in projections}
    return "split of the logits, 6 layers x 512, 128 prompts", methods


def _by_shots() -> list[Row]:
    """Real SST-2 prompts up to about 512 shared tokens: seconds per example as multiples of those without shots."""
    model, shots = pythia("70m"), (0, 1, 4, 8, 16)
    prompts = {n: real_prompts("sst2", 32, n_shots=n) for n in shots}
    tokens = {n: np.array(n_tokens(prompts[n])) for n in shots}
    methods = {str(n): partial(decompose, model, prompts[n], token_budget=TOKENS) for n in shots}
    times = in_turns(methods, 3, least=2, warm_up=methods["4"])
    rows = []
    for n in shots[1:]:
        every, new = tokens[n] / tokens[0]
        read = f"{len(prompts[n].shared_ids)} shared tokens; {new:.2f} times the tokens read, {every:.2f} of all tokens"
        on, note = f"70m, 32 of sst2, {n} shots", f"{read}; {times.note(str(n), '0')}"
        rows.append(Row("growth with shots / without shots", on, times.ratio(str(n), "0"), note=note))
    return rows
