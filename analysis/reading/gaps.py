"""Gaps of components, by which ties between equally accurate ones go (`dynamics.methods.selection`)."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.reading.groups import Group
from analysis.reading.result_tables import valid_rows
from dynamics.label_bias import CENTRED
from dynamics.results.places import Place
from dynamics.results.store import Within


def read_gaps(
    results: Place, group: Group, step: int, prompts: Sequence[str], components: Sequence[str], *, centred: bool = False
) -> np.ndarray | None:
    """Mean gap of each component's two largest logits on the test rows of each prompt.

    Args:
        prompts: names, `template/seed`.
        components: names.
        centred: of logits less each label's mean over the test rows.

    Returns:
        (prompt, component) in logits; None where the results lack some, as older ones do: ties go to the first.
    """
    prompt = pl.format("{}/{}", "template", "demo_seed").alias("prompt")
    rows = valid_rows(results, "component_scores", Within(group.model, group.task, [step])).filter(
        group.matches, pl.col("step") == step, pl.col("split") == "test", pl.col("component").is_in(list(components))
    )
    values = pl.col(f"{CENTRED if centred else ''}mean_gap").alias("gap")
    frame = rows.select(prompt, "component", values).filter(pl.col("prompt").is_in(list(prompts))).collect()
    if frame["gap"].null_count() or len(frame) != len(prompts) * len(components):
        return None
    wide = frame.pivot("component", index="prompt", values="gap")
    order = pl.DataFrame({"prompt": list(prompts)}).join(wide, on="prompt", how="left", maintain_order="left")
    return order.select(components).to_numpy()
