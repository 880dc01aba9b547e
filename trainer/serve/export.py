"""Exports the kept model as export.format says: a SavedModel, or a Hugging Face folder."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from trainer.data.prepare import Prepared
from trainer.files import ownership
from trainer.heads.contract import ProvedByServing
from trainer.run.kept_model import KeptModel
from trainer.run.kept_scores import REPORTED_SPLITS
from trainer.serve.card_facts import facts_of
from trainer.serve.huggingface_folder import export_huggingface
from trainer.serve.proof import (
    BFLOAT16_TOLERANCE,
    TOLERANCE,
    Proof,
    make_proof,
    serving_proof,
)
from trainer.serve.saved_model import export_saved_model
from trainer.serve.targets import export_folder, version_folder
from trainer.serve.warmup import BATCHING_FILE, write_batching_parameters

Results = Mapping[str, Mapping[str, np.ndarray]]  # split -> evaluation's results


def export_kept(
    kept: KeptModel, prepared: Prepared | None, results: Results
) -> pathlib.Path | None:
    """Writes the export; on several workers all call it, and the chief writes.

    Args:
        kept: the model.
        prepared: has the raw texts that a SavedModel is proved by; None for formats without proof.
        results: of evaluation, by split, as far as they are known.
    Returns:
        the folder; None where nothing is exported, or this worker does not write.
    """
    return FORMATS[kept.parts.config.export.format](kept, prepared, results)


def _export_nothing(kept: KeptModel, prepared: Prepared | None, results: Results) -> None:
    """For export.format=none."""


def _export_huggingface(
    kept: KeptModel, prepared: Prepared | None, results: Results
) -> pathlib.Path:
    parts = kept.parts
    folder = export_folder(parts.config, kept.job)
    if kept.job.writes:
        export_huggingface(
            kept.model,
            parts.tokenizer,
            parts.weights,
            parts.tokenizer_folder,
            folder,
            facts=facts_of(kept, prepared),
        )
        ownership.publish(folder, last=("config.json",))  # which AutoModel reads first
    return folder


def _export_saved_model(
    kept: KeptModel, prepared: Prepared | None, results: Results
) -> pathlib.Path | None:
    if prepared is None:
        raise ValueError("a SavedModel is proved by the texts of prepared data. Received None.")
    parts, settings = kept.parts, kept.parts.config.export
    is_precise = parts.config.train.precision == "float32"
    tolerance = TOLERANCE if is_precise else BFLOAT16_TOLERANCE
    # on several workers all evaluate the texts of the proof
    proof = _proof(kept, prepared, results, tolerance)
    if not kept.job.writes:
        return None
    folder = version_folder(export_folder(parts.config, kept.job), settings.version)
    proved = export_saved_model(
        kept.model,
        parts.head,
        folder,
        proof,
        tolerance=tolerance,
        batch_invariant=settings.batch_invariant,
        facts=facts_of(kept, prepared),
    )
    parts.display.line(f"export: {proved}")
    ownership.publish(folder, last=("saved_model.pb",))
    if settings.version is not None:
        batching_file = folder.parent / BATCHING_FILE
        if not write_batching_parameters(batching_file):
            parts.display.line(f"{batching_file} is not ours: it stays as it is")
    return folder


def _proof(kept: KeptModel, prepared: Prepared, results: Results, tolerance: float) -> Proof:
    """The proof by the first raw texts of validation, or of test, or of train."""
    head = kept.parts.head
    graph = kept.model.graph
    splits = [split for split in (*REPORTED_SPLITS, "train") if split in prepared.splits]
    store = prepared.splits[splits[0]]
    count = kept.parts.config.export.check_examples
    samples = store.meta["samples"][:count]
    if isinstance(graph, ProvedByServing):
        asked = graph.proof_samples(samples)
        return serving_proof(kept.model, head, asked, tolerance=tolerance)
    known = results.get(splits[0])
    if not known:
        rows = store.rows_of(len(samples))
        known = kept.evaluator.results(store, first=rows)
    return make_proof(head, graph, samples, known, store, tolerance=tolerance)


FORMATS: Mapping[str, Callable[[KeptModel, Prepared | None, Results], pathlib.Path | None]] = {
    "none": _export_nothing,
    "huggingface": _export_huggingface,
    "savedmodel": _export_saved_model,
}
