"""Consistency of the steps of a model: one tokenizer for all, and flags where config or special tokens change."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynamics.hub.errata import Findings
from dynamics.tokenizer_files import check_one_tokenizer, read_tokenizer_file

CONFIG_CHANGED, SPECIAL_TOKENS_CHANGED = "config_changed", "special_tokens_changed"
_IRRELEVANT = {
    "transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache", "architectures",
    "initializer_range", "attention_dropout", "hidden_dropout", "classifier_dropout", "output_attentions",
    "output_hidden_states", "_attn_implementation",
}  # fmt: skip
"""Keys of config.json without influence on a forward pass in eval mode; the dtype is the plan's."""


def compare_steps(model: str, folders: Mapping[str, Path], *, own_tokenizers: bool = True) -> dict[str, Findings]:
    """Compare the setup files of the steps of a model with those of its last step.

    Args:
        model: its id.
        folders: name of a step -> a folder with its config and tokenizer files, in the order of steps; of steps with
            equal files one is enough.
        own_tokenizers: whether the steps use these tokenizers; otherwise only configs are compared.

    Returns:
        Name -> flags and notes: `config_changed` where config.json says something else that changes the forward pass,
        `special_tokens_changed` where other special tokens are put around a text.

    Raises:
        CheckpointError: two steps tokenise a text differently, or a file is damaged.
    """
    special: dict[str, Any] = dict.fromkeys(folders)
    if own_tokenizers:
        check_one_tokenizer(model, folders)
        special = {name: _special_tokens(folder) for name, folder in folders.items()}
    configs = {name: _config(folder) for name, folder in folders.items()}
    last = list(folders)[-1]
    return {name: _findings(configs[name], configs[last], special[name], special[last], last) for name in folders}


def _findings(
    config: Mapping[str, Any], last_config: Mapping[str, Any], special: Any, last_special: Any, last: str
) -> Findings:
    flags, notes = [], []
    if changed := sorted(k for k in {*config, *last_config} if config.get(k) != last_config.get(k)):
        flags.append(CONFIG_CHANGED)
        values = ", ".join(f"{key} = {config.get(key)!r} ({last_config.get(key)!r} at {last})" for key in changed)
        notes.append(f"config.json differs: {values}")
    if special != last_special:
        flags.append(SPECIAL_TOKENS_CHANGED)
        notes.append(f"its tokenizer puts other special tokens around a text than at {last}")
    return Findings(tuple(flags), tuple(notes))


def _special_tokens(folder: Path) -> Any:
    return read_tokenizer_file(folder).special if (folder / "tokenizer.json").is_file() else None


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):  # which fails this checkpoint alone, when it is opened
        return {"config.json": "not valid JSON"}
    return {key: value for key, value in config.items() if key not in _IRRELEVANT and value is not None}
