"""A checkpoint's architecture with weights drawn anew: the control of everything that pretraining has to explain."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from dynamics.controls import RANDOM_INIT, control_name

if TYPE_CHECKING:
    from dynamics.checkpoints import Checkpoint


def random_init(checkpoint: "Checkpoint", seed: int) -> "Checkpoint":
    """The control of a checkpoint's model: its config and tokenizer, no weights, step 0.

    `content_hash` is of all that decides the weights: config and tokenizer files (of GGUF the file itself), the seed,
    and the versions of torch and transformers, which draw them.
    """
    config = checkpoint.content_hash if checkpoint.weights == "gguf" else checkpoint.setup_hash
    decides = repr((config, seed, torch.__version__, transformers.__version__))
    content = hashlib.sha256(decides.encode()).hexdigest()
    remote = checkpoint.remote
    return replace(
        checkpoint,
        revision=control_name(RANDOM_INIT, seed),
        step=0,
        tokens_seen=0,
        commit_sha=f"init:{content}",
        content_hash=content,
        remote=None if remote is None else replace(remote, weights=()),
        flags=(),
        notes=(),
        init_seed=seed,
    )


def draw_weights(folder: Path, seed: int, gguf_file: str | None = None) -> PreTrainedModel:
    """A float32 model of a folder's config, initialised as transformers initialises its family.

    That is not how every suite initialised its own (Pythia scaled some layers by depth): an untouched step 0, where
    there is one, is the control beside this one. The same seed gives the same weights whatever was drawn before, and
    later draws are as if nothing had been drawn.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, gguf_file=gguf_file)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
