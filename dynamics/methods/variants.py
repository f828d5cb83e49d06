"""Variants of COMP RW and Calib+: one entry each, from which fits, plans and tests take everything that differs.

`dynamics.methods.reweighting` explains the settings, and where `paper` and `official_code` differ.
"""

from dataclasses import dataclass

from dynamics.methods.descent import FitSettings


@dataclass(frozen=True)
class Variant:
    """Settings of one variant.

    Attributes:
        reweighting: COMP RW, component reweighting.
        calibration: Calib+.
        counts_demonstrations: whether K counts the demonstrations in the prompts (the paper) or comes on top of them
            (the authors' code).
    """

    reweighting: FitSettings
    calibration: FitSettings
    counts_demonstrations: bool = True


VARIANTS: dict[str, Variant] = {
    "paper": Variant(
        reweighting=FitSettings("paper", l1=0.1, lr=0.05, max_epochs=2000),
        calibration=FitSettings("paper", l1=0, lr=0.05, max_epochs=5000),
    ),
    "official_code": Variant(
        reweighting=FitSettings(
            "official_code", l1=0.01, lr=0.05, max_epochs=2000, mean_loss=True, clip=True, stop="patience"
        ),
        calibration=FitSettings(
            "official_code", l1=0, lr=0.05, max_epochs=5000, mean_loss=True, stop="patience", check_before_update=True
        ),
        counts_demonstrations=False,
    ),
    "default": Variant(
        reweighting=FitSettings("default", l1=0.1, lr=None, max_epochs=256, keep_remainder=True, stop="leave_one_out"),
        calibration=FitSettings("default", l1=0, lr=None, max_epochs=256, stop="leave_one_out"),
    ),
}
