"""Schema of the result tables: name, type and description of every column."""

import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised when a column changes or is removed, not for a new nullable column, which reads as null in older files."""

_TEXT = pa.string()
_FLOATS = pa.list_(pa.float32())

KEYS: dict[str, tuple[pa.DataType, str]] = {
    "unit_id": (_TEXT, "hash of everything that decides the unit's numbers"),
    "model": (_TEXT, "model id"),
    "revision": (_TEXT, "name of the checkpoint"),
    "step": (pa.int64(), "optimiser steps taken"),
    "tokens_seen": (pa.int64(), "training tokens up to the step; null where not known"),
    "commit_sha": (_TEXT, "Hub commit, or `sha256:` and the hash of local weights"),
    "dtype": (_TEXT, "dtype of the forward pass; the decomposition is float32"),
    "control": (
        _TEXT,
        "none; random_init-<seed>: random weights; shuffled_labels-<seed>: all gold labels permuted; "
        "permuted_demonstrations-<seed>: other labels in the demonstrations; abstract_labels-<seed>: other label words",
    ),
    "task": (_TEXT, "task"),
    "template": (_TEXT, "template of the task"),
    "demo_seed": (pa.int64(), "seed of the demonstrations, training rows and sampled label words"),
    "n_shots": (pa.int64(), "demonstrations that the plan requests"),
}

_EXAMPLE: dict[str, tuple[pa.DataType, str]] = {
    "split": (_TEXT, "train or test"),
    "example_id": (pa.string(), "row of the task"),
    "gold": (pa.uint8(), "index of the gold label"),
    "group": (_TEXT, "first of the rows that belong together, by an equal text or one source; null for a lone row"),
}

COLUMNS: dict[str, dict[str, tuple[pa.DataType, str]]] = {
    "contributions": {
        **KEYS,
        **_EXAMPLE,
        "n_components": (pa.int32(), "length of the component axis"),
        "n_labels": (pa.int32(), "length of the label axis"),
        "components": (_TEXT, "component names, separated by spaces"),
        "contributions": (_FLOATS, "n_components x n_labels, component-major, in logits"),
        "constant": (_FLOATS, "per label, the term that belongs to no component, in logits"),
        "full": (_FLOATS, "per label, the full model's logit"),
    },
    "predictions": {
        **KEYS,
        **_EXAMPLE,
        "n_labels": (pa.int32(), "length of the label axis"),
        "components": (_TEXT, "component names, separated by spaces"),
        "full": (pa.uint8(), "label the full model predicts; the first of them in a tie; null with a reason"),
        "full_tied": (pa.uint32(), "bit y set where label y ties at the top; null without a tie"),
        "predictions": (pa.list_(pa.uint8()), "label each component predicts; the first of them in a tie"),
        "tied": (pa.list_(pa.uint32()), "per component as `full_tied`, 0 without a tie; null where no component ties"),
        "centred_full": (pa.uint8(), "as `full`, from logits less each label's mean over the rows of the split"),
        "centred_full_tied": (pa.uint32(), "as `full_tied`, of `centred_full`"),
        "centred_predictions": (pa.list_(pa.uint8()), "as `predictions`, from contributions less the same means"),
        "centred_tied": (pa.list_(pa.uint32()), "as `tied`, of `centred_predictions`"),
        "reason": (pa.string(), "why the example was not run; null where it was"),
    },
    "component_scores": {
        **KEYS,
        "split": (_TEXT, "train or test"),
        "component": (_TEXT, "name"),
        "kind": (_TEXT, "embed, head, mlp or attn_bias"),
        "layer": (pa.int32(), "block, null for the embedding"),
        "head": (pa.int32(), "head in the block, null unless a head"),
        "accuracy": (pa.float64(), "share of examples whose largest contribution is the gold label's; ties 1/n_tied"),
        "balanced_accuracy": (pa.float64(), "mean over labels of the accuracy on that label's examples"),
        "mean_margin": (pa.float64(), "mean of gold contribution less the largest other, in logits"),
        "label_share": (pa.list_(pa.float64()), "share of examples on which each label is predicted"),
        "label_share_max": (pa.float64(), "largest of them; 1 for a component that always predicts the same label"),
        "entropy": (pa.float64(), "entropy of label_share, in bits"),
        "n_examples": (pa.int64(), "examples scored"),
        "centred_accuracy": (pa.float64(), "accuracy of contributions less each label's mean over the scored examples"),
        "train_centred_accuracy": (pa.float64(), "the same with means over the training rows; null without them"),
        "auc": (
            pa.float64(),
            "area under the ROC curve of one label against the others, mean over labels, ties 1/2; null where all "
            "examples have one label",
        ),
        "label_means": (
            _FLOATS,
            "mean contribution to each label, in logits: the component's part in the full model's label bias",
        ),
        "mean_gap": (
            pa.float32(),
            "mean of the largest contribution less the second largest, in logits; of equally accurate components, the "
            "one where it is larger is chosen; null in older results",
        ),
        "centred_mean_gap": (pa.float32(), "the same of contributions less each label's mean over the scored examples"),
    },
    "prompt_scores": {
        **KEYS,
        "split": (_TEXT, "split that is scored"),
        "method": (
            _TEXT,
            "full, oracle_t1, oracle_b1, heldout_t1, comp_rw, the same with `centred_` or `train_centred_` before it "
            "(less each label's mean logit over the test rows, or over the training rows), batch_calibration, "
            "contextual_calibration, domain_context_calibration, calib_plus, standard, prompt_selection",
        ),
        "variant": (_TEXT, "variant of the method; empty where it has none"),
        "n_labelled": (pa.int64(), "K, labelled examples used; 0 for methods that need none"),
        "component": (_TEXT, "the component selected; null where none is"),
        "selected_on": (_TEXT, "split the component was selected on; null where none is"),
        "accuracy": (pa.float64(), "accuracy on n_examples of the split"),
        "auc": (pa.float64(), "as in `component_scores`; null where it is that of `full`, or there are no logits"),
        "n_examples": (pa.int64(), "examples scored"),
        "n_shots_used": (pa.int64(), "demonstrations in the prompt"),
        "reason": (pa.string(), "why accuracy is null"),
        "fit_id": (_TEXT, "hash of the method's settings and K; null for methods that have none"),
        "predictions": (
            pa.list_(pa.uint8()),
            "label predicted on each of the n_examples rows, by ascending example_id; the first of them in a tie; null "
            "for `full`, the oracles and both `centred_`, whose predictions are in `predictions`, and for prompting "
            "baselines",
        ),
        "tied": (pa.list_(pa.uint32()), "per row as `full_tied`, 0 without a tie; null where no row ties"),
        "label_means": (_FLOATS, "of `full`, its mean logit of each label, constant included"),
        "label_share": (pa.list_(pa.float64()), "of `full`, share of examples on which each label is predicted"),
        "label_prior": (
            pa.list_(pa.float64()),
            "of label-free calibrations, the mean probability of each label, by which that of a row is divided",
        ),
        "n_prior_prompts": (pa.int64(), "prompts that `label_prior` is the mean over"),
    },
    "reweightings": {
        **KEYS,
        "variant": (_TEXT, "variant of the reweighting"),
        "n_labelled": (pa.int64(), "K, labelled examples used"),
        "component": (_TEXT, "head or MLP"),
        "weight": (pa.float64(), "its weight as it is applied"),
        "train_loss": (pa.float64(), "mean cross-entropy of the training rows, in nats, without the penalty"),
        "epochs": (pa.int64(), "updates made"),
        "stop_reason": (_TEXT, "why the fit stopped"),
        "keeps_remainder": (pa.bool_(), "whether embedding, attention biases and constant stay in the sum"),
        "fit_id": (_TEXT, "hash of the fit's settings and K"),
    },
    "mechanisms": {
        **KEYS,
        "measure": (_TEXT, "what is measured; `dynamics.mechanisms` has the formulae"),
        "component": (_TEXT, "head"),
        "layer": (pa.int32(), "block"),
        "head": (pa.int32(), "head in the block"),
        "value": (pa.float64(), "mean over n; attention between 0 and 1, label_copying in logits; null if undefined"),
        "sd": (pa.float64(), "standard deviation over prompts; null for measures without prompts, and of one prompt"),
        "n": (pa.int64(), "test rows, sequences or tokens"),
        "chance": (pa.float64(), "value without any preference; null where there is none"),
        "fit_id": (_TEXT, "hash of the settings"),
    },
    "ablations": {
        **KEYS,
        "selection": (
            _TEXT,
            "none: the full model; top, bottom: the best and worst components on the training rows; random-<i>: drawn "
            "from the others, no two alike; single: one component of top, bottom or random-0",
        ),
        "components": (_TEXT, "those ablated together, separated by spaces"),
        "n_components": (pa.int64(), "how many"),
        "k": (pa.int64(), "the plan's size of top, bottom and random sets; n_components is smaller in small models"),
        "replacement": (_TEXT, "mean: their output is its mean over the unit's rows; zero"),
        "accuracy": (pa.float64(), "of the full model without them, on the test rows"),
        "centred_accuracy": (pa.float64(), "the same less each label's mean logit over the test rows"),
        "mean_margin": (pa.float64(), "mean of gold logit less the largest other, without them"),
        "direct_effect": (pa.float64(), "mean margin lost with their contributions replaced and all else as it was"),
        "total_effect": (pa.float64(), "mean margin lost where later layers see the replacement"),
        "self_repair_sd": (pa.float64(), "standard deviation over rows of direct less total effect; null of one row"),
        "n_examples": (pa.int64(), "test rows"),
        "predictions": (pa.list_(pa.uint8()), "label predicted without them, by ascending example_id"),
        "tied": (pa.list_(pa.uint32()), "per row as `full_tied`, 0 without a tie; null where no row ties"),
        "reason": (pa.string(), "in the row of none: why no components were chosen; null where some were"),
        "fit_id": (_TEXT, "hash of the settings"),
    },
    "units": {
        **KEYS,
        "status": (_TEXT, "done or failed"),
        "error_class": (_TEXT, "class of the error of a failed unit"),
        "error": (pa.string(), "its first line"),
        "attempts": (pa.int64(), "number of times the unit was run, over all sweeps"),
        "decomposition_error": (pa.float64(), "max |sum of parts - full| / max(1, max |full|)"),
        "forward_error": (pa.float64(), "the same of full against the model's own logits on some whole prompts"),
        "device": (_TEXT, "device of the forward pass"),
        "load_seconds": (pa.float64(), "loading the checkpoint, shared by all its units"),
        "forward_seconds": (pa.float64(), "forward passes and decomposition"),
        "score_seconds": (pa.float64(), "predictions and scores, not fits, which are made for a part or later"),
        "peak_bytes": (pa.int64(), "peak memory of the process (CPU) or device (CUDA) so far"),
        "content_hash": (_TEXT, "hash of the weights"),
        "task_hash": (_TEXT, "hash of the task's rows, label words and templates"),
        "task_source": (_TEXT, "where the task's rows come from"),
        "label_words": (_TEXT, "label words in label order, separated by spaces"),
        "n_test": (pa.int64(), "test examples"),
        "n_test_asked": (pa.int64(), "test examples that the plan requests"),
        "n_train": (pa.int64(), "training examples"),
        "n_groups": (pa.int64(), "groups among the test examples, a lone one counted as one"),
        "n_moved": (pa.int64(), "rows of the task that changed sides, pool or test, to stay with their group"),
        "n_dropped": (pa.int64(), "rows of the task left out, since their group is on the other side"),
        "partition_seed": (pa.int64(), "seed of the task's partition into demonstrations, training and test rows"),
        "n_shots_used": (
            pa.int64(),
            "demonstrations in the prompts; fewer than n_shots where the pool or context is small",
        ),
        "n_skipped": (pa.int64(), "examples that exceed the context, null rows of `predictions`"),
        "contrasts_with": (_TEXT, "for the template `contrast`, the template it is compared with: its task's first"),
        "demonstrations_of": (_TEXT, "for a transfer task, the task whose demonstrations it takes"),
        "flags": (
            pa.list_(pa.string()),
            "duplicate, quarantined, other_format, untied, config_changed, special_tokens_changed, shared_pool, bos",
        ),
        "notes": (
            pa.list_(pa.string()),
            "what is known of the checkpoint: reports, changes, why another format is used",
        ),
        "tokenizer": (_TEXT, "tokenizer that the plan names, with its commit and hash; null for the checkpoint's own"),
        "versions": (_TEXT, "versions of the method, the schema and the libraries"),
        "forward_id": (_TEXT, "hash of weights, dtype, prompt token ids, rows and method version"),
        "part": (_TEXT, "part that holds the unit's rows in the other tables"),
        "created": (pa.timestamp("us", tz="UTC"), "when the unit was written"),
    },
}

_PLANNED: dict[str, tuple[pa.DataType, str]] = {
    **KEYS,
    "fit_ids": (pa.list_(_TEXT), "fits and baselines that the plan requests for the unit"),
}


def _schema(columns: dict[str, tuple[pa.DataType, str]]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"about": about}) for name, (kind, about) in columns.items()])


TABLES: dict[str, pa.Schema] = {table: _schema(columns) for table, columns in COLUMNS.items()}
PLANNED = _schema(_PLANNED)
"""Schema of the units of a plan when it was last swept; stored beside the plan, not a result table."""
