"""Which components are reliably below chance, and why: bias, copying against the labels, or against a good component?

Two things are tested with 95 % intervals: the accuracy of a component's answers as they are, and the area under its ROC
curve (AUC), which no label bias changes. Intervals of means over prompts hold for other demonstration seeds and test
rows, those of single prompts for other test rows (`statistics.shared_rows`). Of components that have nothing to do with
the labels, at most 2.5 % are below chance in each. Classes:

- `label-biased`: accuracy below chance, AUC not below .5. What it lacks is a threshold.
- `anti-copying`: AUC below .5; it lowers the labels that it attends to (`label_copying` below 0 with its interval), and
  gives them more attention than all other words of the demonstrations together (`label_attention` above
  `demo_text_attention`). Attention that is spread evenly gives them less, as every demonstration has one label word
  and at least one other: so attention to label words is more than even, whatever the length of demonstrations.
- `wrong-label attention`: AUC below .5, and as much attention to label words; it raises the labels that it attends to
  (`label_copying` above 0 with its interval), but attends to the other labels more than to the gold one
  (`gold_attention` below 0 with its interval).
- `opposed`: AUC below .5, and its centred answers agree with those of some good component (AUC above .5) less than two
  components do that are independent given the gold label (`shared_rows.excess_agreement`): where the good one errs, it
  is right. The level is shared out among good components (Bonferroni).
- `unexplained`: AUC below .5, and none of these.
- `cannot be told`: AUC below .5, of a head whose attention was not measured, so that it may be anti-copying; or of a
  component that answers all rows of a label alike, so that no row shows whether it is opposed. `reason` says which.

The first that applies is the class; `opposed` stands beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.component_kinds import masks
from analysis.reading.answers import PROMPT, StepAnswers, has_centred_answers, read_answers, split_prompt
from analysis.reading.groups import GROUP_SCHEMA, Schema, groups
from analysis.reading.head_measures import read_prompt_measures
from analysis.reading.result_tables import valid_rows
from analysis.statistics.below_chance import ATTENTION, CLASSES, Classified, Evidence, agreement, classify
from analysis.statistics.shared_rows import LEVEL, accuracy_sd, auc_sd, by_prompt, over_seeds
from dynamics.components import parse_component
from dynamics.results.places import Place

TOGETHER, SINGLY = "all prompts", "by prompt"
_TESTED = ("accuracy", "accuracy_low", "accuracy_high", "auc", "auc_low", "auc_high")
_SIGNED = ("label_copying", "label_copying_low", "label_copying_high")
_GOLD = ("gold_attention", "gold_attention_low", "gold_attention_high", "label_attention", "demo_text_attention")
_NUMBERS = (*_TESTED, "excess_agreement", "excess_high", *_SIGNED, *_GOLD)
_OF_PROMPTS = ("below_on_prompts", "above_on_prompts", "bad_on_prompts")
_COMPONENT: Schema = {
    "step": pl.Int64,
    **dict.fromkeys(("component", "kind"), pl.String),
    **dict.fromkeys(("layer", "head"), pl.Int64),
}
_CLASS: Schema = {
    "class": pl.String,
    "opposed": pl.Boolean,
    "opposed_to": pl.String,
    **dict.fromkeys(_NUMBERS, pl.Float64),
    "reason": pl.String,
    "chance": pl.Float64,
}
SCHEMA: Schema = {
    **GROUP_SCHEMA,
    **_COMPONENT,
    **_CLASS,
    **dict.fromkeys(_OF_PROMPTS, pl.Float64),
    **dict.fromkeys(("n_prompts", "n_seeds", "n_examples"), pl.Int64),
}
PROMPT_SCHEMA: Schema = {
    **GROUP_SCHEMA,
    **_COMPONENT,
    "template": pl.String,
    "demo_seed": pl.Int64,
    **_CLASS,
    "n_examples": pl.Int64,
}
SHARES_SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    **dict.fromkeys(("scope", "class"), pl.String),
    **dict.fromkeys(("n", "share", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_components", "n_prompts", "n_seeds"), pl.Int64),
    "reason": pl.String,
}


def bad_components(results: Place) -> pl.DataFrame:
    """Every head and MLP at every step: is it below chance over all prompts, and why?

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component): kind, layer, head; class (null: neither
        accuracy nor AUC is below chance); opposed (null where it cannot be told, or AUC is not below .5), opposed_to
        (the good component with the least agreement; null where none is good); accuracy and auc, means over prompts,
        with _low and _high (null with one seed); excess_agreement with that component and the upper end of its
        interval; label_copying (logits) and gold_attention with _low and _high, label_attention, demo_text_attention,
        null for MLPs and where they were not measured; reason (why something cannot be told); chance; below_on_prompts
        and above_on_prompts (shares of prompts whose AUC is below and above .5: both are large where the sign of a
        component depends on the demonstrations, or on the label words that a seed draws); bad_on_prompts (share of
        prompts on which `component_kinds` calls it bad); n_prompts, n_seeds, n_examples.
    """
    rows = [row for step in classified_steps(results) for row in _rows(step)]
    return pl.DataFrame(rows, schema=SCHEMA)


def bad_components_by_prompt(results: Place) -> pl.DataFrame:
    """Every head and MLP at every step under every prompt: is it below chance, and why?

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component, template, demo_seed): the columns of
        `bad_components` that are no shares or means over prompts, with intervals for other test rows; n_examples.
    """
    rows = [row for step in classified_steps(results) for row in _prompt_rows(step)]
    return pl.DataFrame(rows, schema=PROMPT_SCHEMA)


def bad_component_shares(results: Place) -> pl.DataFrame:
    """Shares of the classes among heads and MLPs.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, scope, class): n and share of n_components, low and
        high. With scope `all prompts` components are classified by their means over prompts; the interval is
        that of Clopper and Pearson, exact for components that are independent draws of more of their kind. With scope
        `by prompt` they are classified under each prompt, n and share are means over prompts, and the interval
        is Student's over demonstration seeds, test rows and templates as they are (null with one seed). n_prompts,
        n_seeds; reason, where no class could be told (share is then null).
    """
    rows = [row for step in classified_steps(results) for row in (*_shares_together(step), *_shares_singly(step))]
    return pl.DataFrame(rows, schema=SHARES_SCHEMA)


@dataclass(frozen=True)
class ClassifiedStep:
    """The components of one step of a group, classified.

    Attributes:
        answers: of the step.
        prompts, seeds: (prompt,) of the answers.
        together, singly: by means over prompts, and prompt by prompt.
    """

    answers: StepAnswers
    seeds: np.ndarray
    together: Classified
    singly: Classified

    @property
    def keys(self) -> dict[str, object]:
        """Columns of all its rows."""
        return {**self.answers.group.keys, "step": self.answers.step}

    @property
    def sizes(self) -> dict[str, object]:
        """Numbers of prompts and demonstration seeds."""
        return {"n_prompts": len(self.seeds), "n_seeds": len(np.unique(self.seeds))}


def classified_steps(results: Place) -> Iterator[ClassifiedStep]:
    """Every step of every group, with the classes of its components."""
    for group in groups(results):
        centred = read_answers(results, group, centred=True) if has_centred_answers(results, group) else None
        for answers in read_answers(results, group):
            evidence = _evidence(results, answers, next(centred) if centred else None)
            seeds = np.array([split_prompt(name)[1] for name in answers.prompts])
            together, singly = classify(evidence, over_seeds(seeds)), classify(evidence, by_prompt)
            yield ClassifiedStep(answers, seeds, together, singly)


def _evidence(results: Place, answers: StepAnswers, centred: StepAnswers | None) -> Evidence:
    scores, n_groups = _scores(results, answers), _n_groups(answers)
    spread = np.full_like(scores["auc"], auc_sd(answers.gold, n_groups))
    prompts = [split_prompt(name) for name in answers.prompts]
    is_head = np.array([parse_component(name).kind == "head" for name in answers.components])
    return Evidence(
        accuracy=scores["accuracy"],
        accuracy_sd=accuracy_sd(scores["label_share"], answers.gold, n_groups),
        auc=scores["auc"],
        auc_sd=spread,
        chance=1 / answers.n_labels,
        attention=read_prompt_measures(results, answers.group, answers.step, prompts, answers.components, ATTENTION),
        may_copy=is_head & (answers.group.n_shots > 0),
        agreement=None if centred is None else agreement(centred, scores["auc"], spread),
    )


def _scores(results: Place, answers: StepAnswers) -> dict[str, np.ndarray]:
    """accuracy and auc (prompt, component), label_share (prompt, component, label), in the order of the answers."""
    rows = valid_rows(results, "component_scores").filter(
        answers.group.matches, pl.col("step") == answers.step, pl.col("split") == "test"
    )
    found = rows.with_columns(PROMPT).select("prompt", "component", "accuracy", "auc", "label_share")
    order = pl.LazyFrame({"prompt": answers.prompts}).join(
        pl.LazyFrame({"component": answers.components}), how="cross", maintain_order="left_right"
    )
    frame = order.join(found, on=["prompt", "component"], how="left", maintain_order="left").collect()
    shape = (len(answers.prompts), len(answers.components))
    numbers = {n: frame[n].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(shape) for n in ("accuracy", "auc")}
    return {**numbers, "label_share": np.array(frame["label_share"].to_list()).reshape(*shape, -1)}


def _n_groups(answers: StepAnswers) -> int:
    """Groups of rows that belong together, a lone row counted as one."""
    named = [group for group in answers.row_groups if group is not None]
    return len(answers.gold) - len(named) + len(set(named))


def _rows(step: ClassifiedStep) -> Iterator[dict[str, object]]:
    below, above = step.singly.below.mean(0), (step.singly.numbers["auc_low"] > 0.5).mean(0)
    shares = np.stack([below, above, masks(step.answers)[0]["bad"].mean(0)], 1)
    for i in range(len(step.answers.components)):
        of_prompts = dict(zip(_OF_PROMPTS, shares[i].tolist(), strict=True))
        n = {**step.sizes, "n_examples": len(step.answers.gold)}
        yield {**step.keys, **_columns(step.answers, step.together, 0, i), **of_prompts, **n}


def _prompt_rows(step: ClassifiedStep) -> Iterator[dict[str, object]]:
    for scope, (template, seed) in enumerate(map(split_prompt, step.answers.prompts)):
        for i in range(len(step.answers.components)):
            columns = _columns(step.answers, step.singly, scope, i)
            prompt = {"template": template, "demo_seed": seed, "n_examples": len(step.answers.gold)}
            yield {**step.keys, **columns, **prompt}


def _columns(answers: StepAnswers, found: Classified, scope: int, i: int) -> dict[str, object]:
    """The columns of one component, by the mean over prompts or under one prompt."""
    component = parse_component(answers.components[i])
    chosen, to, opposed = found.classes[scope, i], found.opposed_to[scope, i], found.opposed[scope, i]
    numbers = {name: float(values[scope, i]) for name, values in found.numbers.items()}
    return {
        "component": component.name,
        "kind": component.kind,
        "layer": component.layer,
        "head": component.head,
        "class": CLASSES[chosen] if chosen >= 0 else None,
        "opposed": None if np.isnan(opposed) else bool(opposed),
        "opposed_to": answers.components[to] if to >= 0 else None,
        **{name: numbers[name] if np.isfinite(numbers.get(name, np.nan)) else None for name in _NUMBERS},
        "reason": found.reason(scope, i),
        "chance": 1 / answers.n_labels,
    }


def _shares_together(step: ClassifiedStep) -> Iterator[dict[str, object]]:
    from scipy.stats import binomtest  # takes longer to import than all of `analysis`

    classes = step.together.classes[0]
    counts = [int((classes == i).sum()) for i in range(len(CLASSES))]
    ends = [binomtest(n, len(classes)).proportion_ci(1 - LEVEL, "exact") for n in counts]
    yield from _share_rows(step, TOGETHER, step.together, counts, [(float(end.low), float(end.high)) for end in ends])


def _shares_singly(step: ClassifiedStep) -> Iterator[dict[str, object]]:
    shares = np.stack([(step.singly.classes == i).mean(1) for i in range(len(CLASSES))], 1)
    mean, low, high = (values[0] for values in over_seeds(step.seeds)(shares, np.zeros_like(shares), LEVEL))
    n_components = step.singly.classes.shape[1]
    ends = list(zip(np.clip(low, 0, 1).tolist(), np.clip(high, 0, 1).tolist(), strict=True))
    yield from _share_rows(step, SINGLY, step.singly, (mean * n_components).tolist(), ends)


def _share_rows(
    step: ClassifiedStep, scope: str, found: Classified, counts: Sequence[float], ends: list[tuple[float, float]]
) -> Iterator[dict[str, object]]:
    n_components = found.classes.shape[1]
    known = not np.isnan(found.numbers["auc_high"]).all()
    for name, n, (low, high) in zip(CLASSES, counts, ends, strict=True):
        numbers = {"n": float(n), "share": n / n_components, "low": low, "high": high}
        told = {key: value if known and np.isfinite(value) else None for key, value in numbers.items()}
        sizes = {"n_components": n_components, **step.sizes, "reason": None if known else found.reason(0, 0)}
        yield {**step.keys, "scope": scope, "class": name, **told, **sizes}
