"""Settings of baselines with prompts of their own: Standard, PromptS and label-free calibrations. No torch."""

from dataclasses import dataclass
from pathlib import Path

from dynamics.checkpoint_files import hash_files
from dynamics.errors import CheckpointError
from dynamics.identity import METHOD_VERSION, identity_hash
from dynamics.methods.label_free import CONTENT_FREE, CONTEXTUAL, LABEL_FREE, N_DOMAIN_TEXTS

STANDARD = "standard"
PROMPT_SELECTION = "prompt_selection"
CHECKPOINT = "checkpoint"
"""The variant of `prompt_selection` whose embeddings are the checkpoint's own."""
ENCODER_FOLDER = "give a folder that AutoModel reads, with safetensors weights and a tokenizer.json"
"""What to do about an encoder that cannot be used, for messages."""


@dataclass(frozen=True)
class PromptingBaseline:
    """One baseline with prompts of its own: K labelled examples in them, or none and no content (`LABEL_FREE`).

    Attributes:
        method: `standard`, `prompt_selection` or one of `LABEL_FREE`.
        n_labelled: K; 0 for those of `LABEL_FREE`.
        variant: for prompt_selection, the source of the embeddings: `checkpoint`, or an encoder's folder.
        encoder_hash: hash of the encoder's files; empty where the checkpoint embeds.
    """

    method: str
    n_labelled: int
    variant: str = ""
    encoder_hash: str = ""

    @property
    def fit_id(self) -> str:
        """Hash (16 hex) of the settings; with a unit's id it identifies a row of `prompt_scores`."""
        return identity_hash({"baseline": self, "method_version": METHOD_VERSION})

    @property
    def is_label_free(self) -> bool:
        """Whether it is a calibration that takes no labels beyond the demonstrations."""
        return self.method in LABEL_FREE

    @property
    def n_prior_prompts(self) -> int:
        """Prompts without content that a label-free calibration runs for a unit, at most; 0 for others."""
        if not self.is_label_free:
            return 0
        return len(CONTENT_FREE) if self.method == CONTEXTUAL else N_DOMAIN_TEXTS

    @property
    def names(self) -> tuple[tuple[str, str, int], ...]:
        """(method, variant, n_labelled) of its row, by which analyses tell baselines apart."""
        return ((self.method, self.variant, self.n_labelled),)

    @property
    def keys(self) -> dict[str, object]:
        """Its columns of a row of `prompt_scores` that identify it."""
        own = {"method": self.method, "variant": self.variant, "n_labelled": self.n_labelled}
        return {**own, "fit_id": self.fit_id}


def encoder_hash(folder: Path) -> str:
    """Hash of the files that determine an encoder's embeddings: weights, config and tokenizer.

    Raises:
        CheckpointError: the folder holds no safetensors weights, or no tokenizer.json.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise CheckpointError(f"encoder {folder} holds no .safetensors file; {ENCODER_FOLDER}")
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"encoder {folder} holds no tokenizer.json, and a vocabulary alone may be read in several ways; "
            f"{ENCODER_FOLDER}"
        )
    return hash_files([*weights, *sorted(folder.glob("*.json")), *sorted(folder.glob("*.txt"))])
