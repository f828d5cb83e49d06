"""Rotary frequencies that lie in a file beside the weights: those of its config, to their precision, or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dynamics.errors import CheckpointError
from tests.dynamics.test_loading import assert_same_weights, in_every_layer, opened, save

D = 4
"""Frequencies of the tiny Llama: half of its head's width."""


def frequencies(theta: float = 10_000.0, n: int = D) -> Tensor:
    """As old versions computed them, over even positions of a head of width 2n."""
    return 1.0 / (theta ** (torch.arange(0, 2 * n, 2).float() / (2 * n)))


def stored(folder: Path, values: Tensor, *, pickled: str = "", config: dict | None = None, name: str = "llama"):
    """A folder whose layers have these frequencies, opened; pickled as now or as before torch 1.6."""
    prefix = {"llama": "model.layers", "gpt2": "transformer.h"}[name]
    model = save(folder, name, in_every_layer(prefix, self_attn__rotary_emb__inv_freq=values), config)
    if pickled:
        tensors, path = load_file(folder / "model.safetensors"), folder / "pytorch_model.bin"
        torch.save(tensors, path, _use_new_zipfile_serialization=pickled == "zip")
        (folder / "model.safetensors").unlink()
    return model, lambda: opened(folder, allow_pickle=bool(pickled))


@pytest.mark.parametrize("pickled", ["", "zip", "legacy"])
@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x,
        lambda x: x.half(),
        lambda x: x.bfloat16(),
        lambda x: x.double(),
        lambda x: x.half().float(),
        lambda x: x.bfloat16().float(),
    ],
    ids=["float32", "float16", "bfloat16", "float64", "float16 cast back", "bfloat16 cast back"],
)
def test_those_of_the_config_are_accepted_in_every_type(
    cast: Callable[[Tensor], Tensor], pickled: str, tmp_path: Path
) -> None:
    model, load = stored(tmp_path, cast(frequencies()), pickled=pickled)
    assert_same_weights(load(), model)


@pytest.mark.parametrize("theta", [1e5, 1e6, 5e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_another_base_in_the_config_needs_its_own(theta: float, dtype: torch.dtype, tmp_path: Path) -> None:
    """In float16 the smallest are subnormal."""
    config = {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    model, load = stored(tmp_path, frequencies(theta).to(dtype), config=config)
    assert_same_weights(load(), model)


@pytest.mark.parametrize("pickled", ["", "zip", "legacy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("theta", [500_000.0, 9_000.0])
def test_those_of_another_base_are_refused_with_it(
    theta: float, dtype: torch.dtype, pickled: str, tmp_path: Path
) -> None:
    _, load = stored(tmp_path, frequencies(theta).to(dtype), pickled=pickled)
    with pytest.raises(
        CheckpointError, match=r"by rope_theta = 10000, rope_type = 'default'\); the file's are of"
    ) as e:
        load()
    found = float(str(e.value).partition("rope_theta = about ")[2].partition(". Correct config.json")[0])
    assert found == pytest.approx(theta, rel=0.02)
    assert "model.layers.0.self_attn.rotary_emb.inv_freq holds other rotary frequencies (4 from 1 to " in str(e.value)


def test_a_small_difference_of_full_precision_is_seen(tmp_path: Path) -> None:
    _, load = stored(tmp_path, frequencies(10_010.0))
    with pytest.raises(CheckpointError, match="holds other rotary frequencies"):
        load()


@pytest.mark.parametrize("n", [2, 8])
def test_another_number_of_them_is_refused(n: int, tmp_path: Path) -> None:
    """Of another share of the head, or another head."""
    _, load = stored(tmp_path, frequencies(n=n))
    with pytest.raises(CheckpointError, match=rf"holds other rotary frequencies \({n} from 1 to "):
        load()


def test_nonsense_is_refused_without_a_base(tmp_path: Path) -> None:
    for i, values in enumerate((torch.ones(D), torch.zeros(D), torch.full((D,), torch.nan), torch.rand(D))):
        _, load = stored(tmp_path / str(i), values)
        with pytest.raises(CheckpointError, match=r"holds other rotary frequencies .*'default'\)\. Correct config"):
            load()


LINEAR = {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}}


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (4.0, True), (2.0, False)])
def test_scaled_frequencies_may_be_stored_with_or_without_the_scaling(
    factor: float, accepted: bool, tmp_path: Path
) -> None:
    """Old classes scaled positions instead."""
    model, load = stored(tmp_path, frequencies() / factor, config=LINEAR)
    if accepted:
        assert_same_weights(load(), model)
    else:
        with pytest.raises(CheckpointError, match="rope_type = 'linear'"):
            load()


def test_scaled_ones_under_a_config_without_scaling_are_refused(tmp_path: Path) -> None:
    _, load = stored(tmp_path, frequencies() / 4)
    with pytest.raises(CheckpointError, match="holds other rotary frequencies"):
        load()


def test_those_of_a_dynamic_scaling_say_nothing(tmp_path: Path) -> None:
    config = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}}
    model, load = stored(tmp_path, frequencies(34_000.0), config=config)
    assert_same_weights(load(), model)


def test_a_model_without_rotary_embedding_has_none(tmp_path: Path) -> None:
    _, load = stored(tmp_path, frequencies(), name="gpt2")
    with pytest.raises(CheckpointError, match=r"the model of its config\.json has none"):
        load()


def test_those_of_a_model_with_other_ones_for_each_type_of_layer_are_refused(tmp_path: Path) -> None:
    buffers = in_every_layer("model.layers", self_attn__rotary_emb__inv_freq=frequencies())
    save(tmp_path, "olmo3", buffers, None)
    with pytest.raises(CheckpointError, match="type of layers"):
        opened(tmp_path)
