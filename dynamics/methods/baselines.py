"""Settings of the prompting baselines, Standard and PromptS, which `methods.prompting` runs. No torch."""

from dataclasses import dataclass
from pathlib import Path

from dynamics.checkpoint_files import hash_files
from dynamics.errors import CheckpointError
from dynamics.identity import METHOD_VERSION, identity_hash

STANDARD = "standard"
PROMPT_SELECTION = "prompt_selection"
CHECKPOINT = "checkpoint"
"""The variant of `prompt_selection` whose embeddings are the checkpoint's own."""
ENCODER_FOLDER = "give a folder that AutoModel reads, with safetensors weights and a tokenizer.json"
"""What to do about an encoder that cannot be used, for messages."""


@dataclass(frozen=True)
class PromptingBaseline:
    """One prompting baseline: a use of K labelled examples in the prompt.

    Attributes:
        method: `standard` or `prompt_selection`.
        n_labelled: K.
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
    def names(self) -> tuple[tuple[str, str, int], ...]:
        """(method, variant, n_labelled) of its row, by which analyses tell baselines apart."""
        return ((self.method, self.variant, self.n_labelled),)


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
