"""Tolerances of a unit: how far its parts may be from its logits, and its batched pass from the model's own logits.

A unit beyond them fails and is not written.

Comparisons are written as `not (error <= tolerance)`, so that NaN fails.
"""

from dynamics.errors import FailedCheck

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 5e-3}
"""Largest allowed `decomposition_error`, by the dtype of the forward pass.

In half precision the residual is rounded at every addition, the parts only once. Largest observed in float32, bfloat16
and float16: 1.2e-6, 2.2e-2, 2.2e-3. Over all five families: 10 seeds of 2 layers with every parameter perturbed;
2 seeds each of 12 layers x 768 near initialisation, further from it, and with outlier dimensions; 2 seeds of
32 layers x 512. A trained Llama of 135M parameters on few-shot prompts: 3.7e-7, 1.9e-3, 2.3e-4.
"""

FORWARD_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-1, "float16": 2e-2}
"""Largest allowed `forward_error`, by the dtype of the forward pass.

Wider than `TOLERANCE`: batching, padding and the shared prefix change the order of sums inside every layer, and later
layers amplify what is rounded differently. Largest observed over the same models: 2.7e-6, 4.6e-2, 7.5e-3 (the trained
one: 5.9e-7, 6.9e-3, 1.2e-3). A fault that changes logits by less is detected in float32 only.
"""


def check_unit(decomposition_error: float, forward_error: float, dtype: str) -> None:
    """Check that a unit's parts sum to its logits, and that these are the model's own.

    Args:
        decomposition_error, forward_error: relative, as `dynamics.decomposition.Decomposition` has them.
        dtype: of the forward pass.

    Raises:
        FailedCheck: an error exceeds its tolerance, or is NaN.
    """
    parts, forward = TOLERANCE[dtype], FORWARD_TOLERANCE[dtype]
    if not (decomposition_error <= parts and forward_error <= forward):
        raise FailedCheck(
            f"the parts differ from the logits by {decomposition_error:.2e} ({dtype} allows {parts:.0e}) and the "
            f"batched pass from the model's own logits by {forward_error:.2e} ({forward:.0e}). The unit is not "
            f"written; {_remedy(dtype)}"
        )


def check_forward(forward_error: float, dtype: str, what: str) -> None:
    """Check that the label logits of a batched pass are the model's own.

    Args:
        forward_error: relative.
        dtype: of the forward pass.
        what: name of the row that they are for, for the message.

    Raises:
        FailedCheck: the error exceeds its tolerance, or is NaN.
    """
    allowed = FORWARD_TOLERANCE[dtype]
    if not forward_error <= allowed:
        raise FailedCheck(
            f"{what}: the batched pass differs from the model's own logits by {forward_error:.2e} ({dtype} allows "
            f"{allowed:.0e}). The row is not written; {_remedy(dtype)}"
        )


def _remedy(dtype: str) -> str:
    """What to do about an error: in half precision first to run the same in float32, where a right model passes."""
    check = "check the family file and the checkpoint"
    reasons = {"float16": "rounds to 3 digits and overflows beyond 65504", "bfloat16": "rounds to 2 digits"}
    if dtype not in reasons:
        return check
    return (
        f"{dtype} {reasons[dtype]}, too little for this model: set dtype to float32, and if it fails there too, {check}"
    )
