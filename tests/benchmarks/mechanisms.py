"""What each mechanism costs beside the decomposition of the same prompts."""

from collections.abc import Iterator
from functools import partial

from dynamics.decomposition import decompose
from dynamics.mechanisms.rows import Measured, mechanism_table
from dynamics.mechanisms.settings import NAMES, Mechanism
from dynamics.results.schema import KEYS
from tests.benchmarks.timing import Row, in_turns
from tests.benchmarks.workloads import TOKENS, pythia, real_prompts

N_UNITS, K = 15, 5
"""Units that share the mechanisms of their checkpoint; k of ablation."""


def beside_the_decomposition() -> Iterator[Row]:
    """Seconds of a mechanism over those of the decomposition of one unit; those of checkpoints shared by 15 units."""
    for size, n_prompts in (("70m", 64), ("160m", 16)):
        model, prompts = pythia(size), real_prompts("sst2", n_prompts)
        split = ("train",) * (n_prompts // 2) + ("test",) * (n_prompts // 2)
        prompts = type(prompts)(**{**vars(prompts), "split": split})
        parts = decompose(model, prompts, token_budget=TOKENS)
        vocabulary = range(50_277)
        measured = Measured(model, vocabulary, prompts, parts, prompts.first_test, TOKENS)
        keys = {**dict.fromkeys(KEYS, ""), **dict.fromkeys(("step", "tokens_seen", "demo_seed", "n_shots"), 0)}
        runs = {"decomposition": partial(decompose, model, prompts, token_budget=TOKENS)}
        for name in NAMES:
            mechanism = Mechanism(name, K, "mean") if name == "ablation" else Mechanism(name)
            runs[name] = partial(mechanism_table, measured, mechanism, keys)
        times = in_turns(runs, runs=1)
        for name in NAMES:
            share = N_UNITS if Mechanism(name).is_of_checkpoint else 1
            on = f"{size}, {n_prompts} of sst2" + (f", a {share}th" if share > 1 else "")
            yield Row(f"{name} / decomposition", on, times.ratio(name, "decomposition") / share)
