"""What a sweep would do and cost, in words."""

from collections.abc import Iterator

from dynamics.mechanisms.settings import N_FUNCTION_VECTOR_PROMPTS
from jobs.preflight import CheckpointReport, ModelReport, Preflight


def lines(report: Preflight) -> Iterator[str]:
    """The report as text."""
    yield f"{report.plan}: {report.n_units} units{_product(report)}, {report.n_done} already done"
    if report.n_baselines:
        yield f"  and {report.n_baselines} passes over units' test rows, for Standard and PromptS"
    if report.n_prior_prompts:
        yield f"  and up to {report.n_prior_prompts} prompts without content, for label-free calibrations"
    if report.n_mechanism_passes:
        yield f"  and up to {report.n_mechanism_passes} passes over units' prompts, for mechanisms"
    if report.n_function_vector_passes:
        each = f"{N_FUNCTION_VECTOR_PROMPTS} prompts each, for function vectors"
        yield f"  and {report.n_function_vector_passes} passes over {each}"
    for model in report.models:
        yield _model_line(model, [c for c in report.checkpoints if c.model == model.model])
    for checkpoint in report.checkpoints:
        if checkpoint.runs:
            c = checkpoint
            yield f"    {c.revision} {c.commit_sha.removeprefix('sha256:')[:12]} {c.files_bytes / 1e9:.3g} GB"
    if report.api_calls:
        yield from _hub_lines(report)
    yield (
        f"results: contributions up to {report.contributions_bytes / 1e9:.3f} GB, predictions up to "
        f"{report.predictions_bytes / 1e9:.3f} GB, before compression"
    )
    yield from (_fault_line(c) for c in report.checkpoints if c.flags or c.notes)
    yield from report.notes
    if report.hours is not None and report.timing is not None:
        yield f"estimate: {report.hours:.2f} hours; {report.timing.line()}"


def _product(report: Preflight) -> str:
    """Where the number of units comes from; nothing where checkpoints have different numbers of them."""
    each = report.units_per_checkpoint
    if each is None:
        return ""
    n = report.n_units // each
    return f" ({n} checkpoint{'s' * (n != 1)} x {each} sets of prompts: tasks, templates, shots and seeds)"


def _hub_lines(report: Preflight) -> Iterator[str]:
    yield f"to download: {report.download_bytes / 1e9:.3f} GB; on disk at once: {report.peak_disk_bytes / 1e9:.3f} GB"
    yield (
        f"Hub requests: {report.api_calls} API calls (limit {report.api_limit} per 5 minutes), up to "
        f"{report.file_requests} file requests (limit {report.file_limit}; the sweep waits when the Hub asks it to)"
    )


def _model_line(model: ModelReport, checkpoints: list[CheckpointReport]) -> str:
    formats = " and ".join(sorted({checkpoint.weights for checkpoint in checkpoints}))
    return (
        f"  {model.model}: {model.n_checkpoints} checkpoints ({formats}), {model.n_components} components, about "
        f"{model.worker_bytes / 1e9:.1f} GB of memory per worker, plus {model.batch_bytes / 1e9:.2f} GB for a batch "
        f"and {model.decomposition_bytes / 1e9:.2f} GB for its decomposition"
    )


def _fault_line(checkpoint: CheckpointReport) -> str:
    flags = f" [{', '.join(checkpoint.flags)}]" if checkpoint.flags else ""
    skipped = "" if checkpoint.runs or "quarantined" not in checkpoint.flags else "; skipped"
    notes = "; ".join(checkpoint.notes) or "has the same weights as another step"
    return f"  {checkpoint.model} {checkpoint.revision}{flags}: {notes}{skipped}"
