"""The price of the paper's protocol by size and device: hours and gigabytes, from tokens, operations and a rate.

Seconds of a checkpoint are the floating-point operations of its new tokens over a rate. Of a token they are
`2 N + 4 L d c`: two for each parameter N of the blocks, and attention over a context of c tokens in L blocks of width
d. Demonstrations are read once per prompt set (`dynamics.forward.prefix`) and hardly count. No GPU was at hand: its
rate is a share of the published peak, and the list says so; `plan PLAN --time` measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

N_PROMPTS, N_ROWS, N_STEPS = 15, 2024, 154
"""Of a task: three templates under five demonstration seeds, and 2,000 test rows with 24 training rows. Checkpoints."""
TOKENS = {"sst2": 34, "boolq": 134, "rte": 79, "arc_easy": 60, "qqp": 40, "wic": 45, "mnli": 55, "agnews": 60}
"""New tokens of a prompt with the GPT-NeoX tokenizer: of the first four measured on real rows, of others estimated."""
CONTEXT = 300
"""Tokens that a token looks back on, on the average of the tasks: about four demonstrations."""
SHAPES = {
    "70m": (6, 512),
    "160m": (12, 768),
    "410m": (24, 1024),
    "1b": (16, 2048),
    "1.4b": (24, 2048),
    "2.8b": (32, 2560),
    "6.9b": (32, 4096),
    "12b": (36, 5120),
}
"""Pythia's sizes: blocks and width."""


@dataclass(frozen=True)
class Device:
    """A device, and the least and the largest rate that is expected of it.

    Attributes:
        name: with the type of numbers.
        slow, fast: floating-point operations a second.
        source: how they are known.
    """

    name: str
    slow: float
    fast: float
    source: str


DEVICES = (
    Device(
        "H100 SXM, bfloat16", 0.1 * 989e12, 0.4 * 989e12, "10 to 40 % of the data sheet's 989 TFLOP/s; extrapolated"
    ),
    Device(
        "A100 SXM, bfloat16", 0.1 * 312e12, 0.4 * 312e12, "10 to 40 % of the data sheet's 312 TFLOP/s; extrapolated"
    ),
)


def per_token(n_blocks: int, width: int, context: float) -> float:
    """Floating-point operations of a token in blocks of Pythia's shape that look back on `context` tokens."""
    return 2 * 12 * n_blocks * width**2 + 4 * n_blocks * width * context


def operations(size: str) -> float:
    """Floating-point operations of one checkpoint of a size under the paper's protocol."""
    return N_PROMPTS * N_ROWS * sum(TOKENS.values()) * per_token(*SHAPES[size], CONTEXT)


def gigabytes(size: str, vocabulary: int = 50_304) -> float:
    """Download of all checkpoints at two bytes a parameter, in 10^9 bytes."""
    n_blocks, width = SHAPES[size]
    return N_STEPS * 2 * (12 * n_blocks * width**2 + 2 * vocabulary * width) / 1e9


def price_lines(devices: tuple[Device, ...] = DEVICES) -> Iterator[str]:
    """The list, as `plan --prices` says it."""
    tokens = N_PROMPTS * N_ROWS * sum(TOKENS.values())
    yield (
        f"{len(TOKENS)} tasks x {N_PROMPTS} prompts x {N_ROWS:,} rows x {N_STEPS} checkpoints, "
        f"{tokens / 1e6:.1f} M new tokens a checkpoint; loading and scoring not counted"
    )
    for device in devices:
        yield f"{device.name}: {device.source}"
    for size in SHAPES:
        hours = [[N_STEPS * operations(size) / rate / 3600 for rate in (d.fast, d.slow)] for d in devices]
        ranges = ", ".join(
            f"{_hours(fast)} to {_hours(slow)} h on {device.name.split(',')[0]}"
            for device, (fast, slow) in zip(devices, hours, strict=True)
        )
        yield f"  pythia-{size}: {gigabytes(size):,.0f} GB to download; {ranges}"
    yield "extrapolated, since no GPU was at hand; `plan PLAN --time` runs some units of yours and measures"


def _hours(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"
