"""Prompting baselines: settings of the other uses of K labelled examples. `methods.prompting` runs them; no torch."""

from dataclasses import dataclass
from pathlib import Path

from dynamics.checkpoint_files import hash_files
from dynamics.errors import CheckpointError
from dynamics.identity import METHOD_VERSION, short_hash

STANDARD = "standard"
PROMPT_SELECTION = "prompt_selection"
CHECKPOINT = "checkpoint"
"""The variant of `prompt_selection` whose vectors are the checkpoint's own."""
ENCODER_FOLDER = "give a folder that AutoModel reads, with safetensors weights and its tokenizer"
"""The remedy for an encoder that cannot be used."""


@dataclass(frozen=True)
class PromptingBaseline:
    """One way of using K labelled examples in the prompt.

    Attributes:
        method: `standard` or `prompt_selection`.
        n_labelled: K.
        variant: of prompt_selection, the name of what embeds: `checkpoint`, or an encoder's folder.
        encoder_hash: of the encoder's files; empty where the checkpoint embeds.
    """

    method: str
    n_labelled: int
    variant: str = ""
    encoder_hash: str = ""

    @property
    def fit_id(self) -> str:
        """Hash (16 hex) of the setting; with a unit's id it is the whole identity of a row of `prompt_scores`."""
        text = repr((self.method, self.n_labelled, self.variant, self.encoder_hash, METHOD_VERSION))
        return short_hash(text)


def encoder_hash(folder: Path) -> str:
    """Hash of what decides an encoder's vectors: weights, config and tokenizer files.

    Raises:
        CheckpointError: the folder holds no safetensors weights.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise CheckpointError(f"encoder {folder} holds no .safetensors file; {ENCODER_FOLDER}")
    return hash_files([*weights, *sorted(folder.glob("*.json")), *sorted(folder.glob("*.txt"))])
