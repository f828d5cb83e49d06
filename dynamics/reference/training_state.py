"""What a pretraining run needs to go on where it stopped, in memory and on disk."""

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from dynamics.atomic_write import write_atomically
from dynamics.reference.manifest import LoggedLoss
from dynamics.reference.recipe import Recipe

STATE_FOLDER, RECIPE_NAME, STATE_NAME = "training_state", "recipe.json", "state.pt"


@dataclass(frozen=True)
class TrainingState:
    """A run after `step` updates: the model and optimiser (which training changes in place) and what was logged."""

    model: GPTNeoXForCausalLM
    optimizer: torch.optim.AdamW
    step: int
    losses: tuple[LoggedLoss, ...]
    seconds: float


def initial_state(recipe: Recipe, vocabulary_size: int) -> TrainingState:
    """The run before its first update. Only the seed decides the weights; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = GPTNeoXForCausalLM(model_config(recipe, vocabulary_size))
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    return TrainingState(model, optimizer, step=0, losses=(), seconds=0.0)


def model_config(recipe: Recipe, vocabulary_size: int) -> GPTNeoXConfig:
    """The Hugging Face configuration: parallel residual, biases, full rotary embedding, untied unembedding."""
    return GPTNeoXConfig(
        vocab_size=vocabulary_size,
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        intermediate_size=4 * recipe.d_model,
        max_position_embeddings=recipe.context,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        use_parallel_residual=True,
        attention_bias=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )


def save_state(state: TrainingState, out: Path) -> None:
    """Write what the run needs to go on: one file, replaced atomically."""
    values = {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "losses": [(entry.step, entry.loss, entry.label_loss) for entry in state.losses],
        "seconds": state.seconds,
    }
    buffer = io.BytesIO()
    torch.save(values, buffer)
    write_atomically(out / STATE_FOLDER / STATE_NAME, buffer.getvalue())


def load_state(recipe: Recipe, out: Path, vocabulary_size: int) -> TrainingState:
    """The state the run was last saved in, or its beginning."""
    state = initial_state(recipe, vocabulary_size)
    path = out / STATE_FOLDER / STATE_NAME
    if not path.exists():
        return state
    values = torch.load(path, weights_only=True)
    state.model.load_state_dict(values["model"])
    state.optimizer.load_state_dict(values["optimizer"])
    losses = tuple(LoggedLoss(*entry) for entry in values["losses"])
    return TrainingState(state.model, state.optimizer, values["step"], losses, values["seconds"])
