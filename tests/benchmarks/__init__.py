"""Speed and memory as ratios: one file per question, one line each in `BENCHMARKS`; run by `make bench`.

Each function measures methods of doing the same thing in turns, run after run, so that other load on the machine
affects all of them, and returns `Row`s. Seconds are compared with each other only, never with a number in this file.
"""

BENCHMARKS = {
    "passes": "tests.benchmarks.passes:passes",
    "memory": "tests.benchmarks.memory:peak_memory",
    "fits": "tests.benchmarks.fits:reweighting_fits",
    "growth": "tests.benchmarks.growth:exponents",
    "sweep": "tests.benchmarks.sweep:share_of_forward_passes",
}
"""Benchmarks of `make bench`, in order."""

ON_REQUEST = {
    "memory-large": "tests.benchmarks.memory:peak_memory_of_larger_models",
    "mechanisms": "tests.benchmarks.mechanisms:beside_the_decomposition",
    "rates": "tests.benchmarks.rates:rates",
    "scoring": "tests.benchmarks.scoring:scores_and_fits",
    "profile": "tests.benchmarks.profile:top_five",
    "peers": "tests.benchmarks.peers:against_transformer_lens",
}
"""Benchmarks that run by name only: they take long, or need an environment of their own (`make bench-peers`)."""
