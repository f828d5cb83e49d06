"""The price of the paper's protocol by size and device: hours and gigabytes, from tokens, operations and a rate.

Seconds of a checkpoint are the floating-point operations of its new tokens over a rate. Of a token they are
`2 N + 4 L d c`: two for each parameter N of the blocks, and attention over a context of c tokens in L blocks of width
d. Demonstrations are read once per prompt set (`dynamics.forward.prefix`) and hardly count. No GPU was at hand: its
rate is a share of the published peak, and the list says so; `jobs.measured_rate` measures that of a machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

N_PROMPTS, N_ROWS, N_STEPS = 15, 2024, 154
"""Of a task: three templates under five demonstration seeds, and 2,000 test rows with 24 training rows. Checkpoints."""
TOKENS = {"sst2": 34, "boolq": 134, "rte": 79, "arc_easy": 60, "qqp": 40, "wic": 45, "mnli": 55, "agnews": 60}
"""New tokens of a prompt with the GPT-NeoX tokenizer: of the first four measured on real rows, of others estimated."""
CONTEXT = 460
"""Tokens that a new token looks back on: 463 on the average of the four tasks that were measured, with 4 shots."""
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
    """A device, and the rate that is expected of it.

    Attributes:
        name: with the type of numbers.
        source: how the rate is known.
        measured: size -> floating-point operations a second; larger sizes have the rate of the largest of these.
        peak: operations a second by the data sheet; None where the rate is measured.
    """

    name: str
    source: str
    measured: Mapping[str, float] = field(default_factory=dict)
    peak: float | None = None

    def rates(self, size: str) -> tuple[float, ...]:
        """Operations a second at a size: the measured one, or the fastest and the slowest that are likely."""
        if self.peak is not None:
            return tuple(share * self.peak for share in LIKELY_SHARES)
        return (self.measured.get(size) or self.measured[max(self.measured, key=list(SHAPES).index)],)


LIKELY_SHARES = (0.4, 0.1)
"""Of a data sheet's peak."""
_EXTRAPOLATED = "10 to 40 % of the data sheet's {} TFLOP/s; extrapolated, since no GPU was at hand"
DEVICES = (
    Device("H100 SXM, bfloat16", _EXTRAPOLATED.format(989), peak=989e12),
    Device("A100 SXM, bfloat16", _EXTRAPOLATED.format(312), peak=312e12),
    Device(
        "2 CPU cores, float32",
        "measured at 70m and 160m on x86-64 with AVX2 and torch 2.13; larger sizes at the rate of 160m",
        {"70m": 66e9, "160m": 88e9},
    ),
)


def per_token(n_blocks: int, width: int, context: float) -> float:
    """Floating-point operations of a token in blocks of Pythia's shape that look back on `context` tokens."""
    return 2 * 12 * n_blocks * width**2 + 4 * n_blocks * width * context


def operations(size: str) -> float:
    """Floating-point operations of one checkpoint of a size under the paper's protocol."""
    return N_PROMPTS * N_ROWS * sum(TOKENS.values()) * per_token(*SHAPES[size], CONTEXT)


def parameters(size: str, vocabulary: int = 50_304) -> int:
    """Weights of the blocks' matrices, the embedding and the unembedding."""
    n_blocks, width = SHAPES[size]
    return 12 * n_blocks * width**2 + 2 * vocabulary * width


def gigabytes(size: str) -> float:
    """Download of all checkpoints at two bytes a parameter, in 10^9 bytes."""
    return N_STEPS * 2 * parameters(size) / 1e9


def hours(size: str, device: Device) -> tuple[float, ...]:
    """Hours of all checkpoints of a size on one device, in the order of `Device.rates`."""
    return tuple(N_STEPS * operations(size) / rate / 3600 for rate in device.rates(size))


def price_lines(devices: Sequence[Device] = DEVICES) -> Iterator[str]:
    """The list, as `plan --prices` says it."""
    tokens = N_PROMPTS * N_ROWS * sum(TOKENS.values())
    yield (
        f"{len(TOKENS)} tasks x {N_PROMPTS} prompts x {N_ROWS:,} rows x {N_STEPS} checkpoints, "
        f"{tokens / 1e6:.1f} M new tokens a checkpoint; loading, scores and fits not counted"
    )
    for device in devices:
        yield f"{device.name}: {device.source}"
    for size in SHAPES:
        on_each = [f"{_range(hours(size, device))} h on {device.name.split(',')[0]}" for device in devices]
        yield f"  pythia-{size}: {gigabytes(size):,.0f} GB to download; {', '.join(on_each)}"
    yield "`plan --calibrate` measures the rate of this machine, `plan PLAN --time` some units of a plan"


def _range(values: Sequence[float]) -> str:
    return " to ".join(f"{value:,.{0 if value >= 100 else 1 if value >= 1 else 2}f}" for value in values)
