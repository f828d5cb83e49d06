"""Profile of one decomposition: the five functions with the most time of their own."""

from functools import partial

from torch.profiler import ProfilerActivity, profile

from dynamics.decomposition import decompose
from tests.benchmarks.timing import Row
from tests.benchmarks.workloads import TOKENS, plain_pass, pythia, real_prompts, unshared


def top_five() -> list[Row]:
    """Of the plain pass, of prompts run whole, and with shared demonstrations, at 70m."""
    model, prompts = pythia("70m"), real_prompts("sst2", 64)
    methods = {
        "plain": partial(plain_pass, model, prompts),
        "whole": partial(decompose, model, unshared(prompts), token_budget=TOKENS),
        "shared": partial(decompose, model, prompts, token_budget=TOKENS),
    }
    rows = []
    for method, run in methods.items():
        run()
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            run()
        spent = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in spent)
        rows += [
            Row(f"profile of {method}", event.key, event.self_cpu_time_total / total, note=f"{event.count} calls")
            for event in spent[:5]
        ]
    return rows
