"""Components: the parts that a label logit splits into (embedding, attention heads, MLPs, attention output biases)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["embed", "head", "mlp", "attn_bias"]

_NAME = re.compile(r"embed|L(?P<layer>\d+)(?:H(?P<head>\d+)|(?P<rest>MLP|bias))")


@dataclass(frozen=True, order=True)
class Component:
    """One part of the residual stream at the last prompt token.

    Attributes:
        kind: `head` and `mlp` are candidates for selection and reweighting; `embed` and `attn_bias` are the remainder.
        layer: block number from 0; None for the embedding.
        head: head number within the layer; None unless `kind` is `head`.
    """

    kind: Kind
    layer: int | None = None
    head: int | None = None

    def __post_init__(self) -> None:
        if (self.layer is None) != (self.kind == "embed") or (self.head is None) != (self.kind != "head"):
            raise ValueError(
                f"a component of kind {self.kind!r} cannot have layer={self.layer} head={self.head}; every kind but "
                "`embed` needs a layer, and only `head` needs a head"
            )

    @property
    def name(self) -> str:
        """`embed`, `L3H7`, `L3MLP` or `L3bias`."""
        if self.kind == "embed":
            return "embed"
        suffix = {"head": f"H{self.head}", "mlp": "MLP", "attn_bias": "bias"}[self.kind]
        return f"L{self.layer}{suffix}"

    @property
    def is_candidate(self) -> bool:
        """Whether selection (T1, B1) and reweighting may use it: heads and MLPs only."""
        return self.kind in ("head", "mlp")


def component_grid(n_layers: int, n_heads: int, *, attention_bias: bool) -> tuple[Component, ...]:
    """All components of a model, in the order of the component axis: embedding, then per layer heads, MLP and bias."""
    grid = [Component("embed")]
    for layer in range(n_layers):
        grid += [Component("head", layer, head) for head in range(n_heads)]
        grid.append(Component("mlp", layer))
        if attention_bias:
            grid.append(Component("attn_bias", layer))
    return tuple(grid)


def parse_component(name: str) -> Component:
    """The component of a name such as `L3H7`.

    Raises:
        ValueError: the name is not one of `embed`, `L<layer>H<head>`, `L<layer>MLP`, `L<layer>bias`.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a component; names look like embed, L3H7, L3MLP, L3bias")
    if name == "embed":
        return Component("embed")
    layer = int(match["layer"])
    if match["head"] is not None:
        return Component("head", layer, int(match["head"]))
    return Component("mlp" if match["rest"] == "MLP" else "attn_bias", layer)


def candidate_indices(names: Sequence[str]) -> list[int]:
    """Positions of heads and MLPs among component names."""
    return [i for i, name in enumerate(names) if parse_component(name).is_candidate]
