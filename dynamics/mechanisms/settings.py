"""Settings of mechanisms that a plan requests: which is measured, how, and what it costs. No torch."""

from dataclasses import dataclass

from dynamics.identity import METHOD_VERSION, identity_hash

SEQUENCES, COPYING, LABEL_ATTENTION = "sequences", "copying", "label_attention"
ABLATION, FUNCTION_VECTORS = "ablation", "function_vectors"
NAMES = (SEQUENCES, COPYING, LABEL_ATTENTION, ABLATION, FUNCTION_VECTORS)
OF_CHECKPOINTS = (SEQUENCES, COPYING)
"""Mechanisms that need no prompts: measured once for a checkpoint, with the keys of one of its units."""
N_FUNCTION_VECTOR_PROMPTS = 25
"""Prompts with shuffled demonstrations that every head's mean output is put into."""
N_RANDOM = 5
"""Random sets of components that are ablated as a null of the best and the worst."""


@dataclass(frozen=True)
class Mechanism:
    """One mechanism as it is measured.

    Attributes:
        name: one of `NAMES`.
        k: for ablation, how many of the best and of the worst components are ablated; else 0.
        replacement: for ablation, `mean` or `zero`; else empty.
    """

    name: str
    k: int = 0
    replacement: str = ""

    @property
    def fit_id(self) -> str:
        """Hash (16 hex) of the settings; with a unit's id it identifies its rows."""
        return identity_hash({"mechanism": self, "method_version": METHOD_VERSION})

    @property
    def table(self) -> str:
        """The result table of its rows."""
        return "ablations" if self.name == ABLATION else "mechanisms"

    @property
    def is_of_checkpoint(self) -> bool:
        """Whether it is measured once for a checkpoint, not for every unit."""
        return self.name in OF_CHECKPOINTS

    @property
    def needs_demonstrations(self) -> bool:
        """Whether units without demonstrations have none of it."""
        return self.name in (LABEL_ATTENTION, FUNCTION_VECTORS)

    def n_passes(self, n_train: int) -> int:
        """Most passes over a unit's prompts, beside the one that decomposes them; 0 for those of checkpoints.

        Ablation makes one pass for the means, one for each of the sets, and one for each component alone of the best,
        the worst and the first random set; none without training rows to choose on, and fewer in models of fewer than
        3 k heads and MLPs. Function vectors make one for the means.
        """
        if self.name == ABLATION:
            return 1 + 2 + N_RANDOM + 3 * self.k if n_train else 0
        return int(not self.is_of_checkpoint)

    def n_short_passes(self, n_heads: int) -> int:
        """Passes over at most `N_FUNCTION_VECTOR_PROMPTS` prompts of a unit, by a model of so many heads in all."""
        return 1 + n_heads if self.name == FUNCTION_VECTORS else 0
