"""Rotary embeddings whose frequencies depend on the length of a sequence: which lengths share them, and their passes.

Two rope types of transformers take frequencies from the largest position of a pass: `longrope` has one set up to
original_max_position_embeddings and one beyond, `dynamic` has new ones for each length beyond max_position_embeddings,
and for shorter sequences those of the longest pass so far. So a batch of several lengths, demonstrations that are run
by themselves, and any pass after a longer one would have other frequencies than each prompt alone in a model just
opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import UnsupportedModel
from dynamics.supported_models import BY_LENGTH, SAME_AT_EVERY_LENGTH


@dataclass(frozen=True)
class Rotary:
    """A rotary embedding of one of the types `BY_LENGTH`.

    Attributes:
        module: called with hidden states and position ids (example, position); returns cosines and sines.
        rope_type: `longrope` or `dynamic`.
        switch: number of tokens of the longest sequence that has the frequencies of short ones.
    """

    module: nn.Module
    rope_type: str
    switch: int

    def like(self, length: int) -> int:
        """The shortest length, from `switch` on, whose frequencies are those of a sequence of `length` tokens."""
        beyond = self.switch + 1 if self.rope_type == "longrope" else length
        return beyond if length > self.switch else self.switch

    def forget(self) -> None:
        """Bring the frequencies back to those of a model just opened."""
        device = next(self.module.buffers()).device
        self.module(torch.empty(0, device=device), position_ids=torch.zeros(1, 1, dtype=torch.long, device=device))

    @contextmanager
    def as_for(self, length: int) -> Iterator[None]:
        """Passes inside have the frequencies of a sequence of `length` tokens, though they run only a part of it."""

        def lengthen(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            positions = named["position_ids"] if "position_ids" in named else inputs[1]  # families pass them either way
            last = positions.new_full((len(positions), 1), length - 1)
            return inputs[:1], {**named, "position_ids": torch.cat([positions, last], 1)}

        def shorten(_: nn.Module, __: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(part[:, :-1] for part in output)

        self.forget()
        handles = [
            self.module.register_forward_pre_hook(lengthen, with_kwargs=True),
            self.module.register_forward_hook(shorten),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def rotary_of(backbone: nn.Module) -> Rotary | None:
    """The rotary embedding of a backbone of transformers; None where its frequencies are the same at every length.

    Raises:
        UnsupportedModel: its rope type is none of those known here.
    """
    module: Any = backbone.get_submodule("rotary_emb")
    rope_type = module.rope_type
    if _same_at_every_length(rope_type):
        return None
    if not isinstance(rope_type, str) or rope_type not in BY_LENGTH:
        raise UnsupportedModel(
            f"config key rope_parameters: rope_type = {rope_type!r} is not supported: whether its frequencies depend "
            f"on a prompt's length is not known. Allowed: {', '.join(SAME_AT_EVERY_LENGTH + BY_LENGTH)}. Use a model "
            "with one of these, or add the type to dynamics/supported_models.py"
        )
    parameters = module.config.rope_parameters
    longrope = rope_type == "longrope"
    switch = parameters["original_max_position_embeddings"] if longrope else module.original_max_seq_len
    return Rotary(module, rope_type, switch)


def depends_on_length(model: nn.Module) -> bool:
    """Whether a rotary embedding of any model may have other frequencies for other lengths, by its rope types."""
    types = [module.rope_type for module in model.modules() if hasattr(module, "rope_type")]
    return not all(map(_same_at_every_length, types))


def _same_at_every_length(rope_type: object) -> bool:
    """Whether a rope type, or each of those of the types of layers, has the same frequencies at every length."""
    kinds = rope_type.values() if isinstance(rope_type, dict) else [rope_type]
    return all(kind in SAME_AT_EVERY_LENGTH for kind in kinds)
