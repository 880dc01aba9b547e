"""What the card of an export tells of the run that trained it."""

from __future__ import annotations

import contextlib

import keras
import tensorflow as tf

from trainer import __version__
from trainer.backbones import huggingface
from trainer.backbones.config import BackboneConfig
from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared
from trainer.data.scripts import CHINESE, script_of
from trainer.errors import UserError
from trainer.files.json_file import JsonObject, is_number
from trainer.run.job import LEDGER_FILE, PLAN_FILE, RESULTS_FILE
from trainer.run.kept_model import KeptModel
from trainer.run.kept_scores import REPORTED_SPLITS
from trainer.serve.model_card import Facts
from trainer.settings.resolve import resolve
from trainer.settings.schema import Config


def facts_of(kept: KeptModel, prepared: Prepared | None) -> Facts:
    """Gathers them; what the job_dir does not say is left out.

    Args:
        kept: the model.
        prepared: the data, where it is at hand.
    """
    parts, job = kept.parts, kept.job
    plan, config = job.told(PLAN_FILE), _begun(kept)
    ledger = Ledger(parts.head.reader.losses_of_data, job.told(LEDGER_FILE))
    return Facts(
        name=job.folder.name or "model",
        config=config,
        task=parts.head.hub_task,
        backbone=_described(parts.backbone),
        parameters=kept.model.parameters,
        pretrained=huggingface.has_weights(parts.weights),
        labels=tuple(map(str, kept.model.graph.vocabulary["labels"])),
        overflow=config.data.overflow or parts.head.reader.overflows[0],
        language=_language(config, prepared),
        sizes=_sizes(plan, config),
        scores=_scores(job.told(RESULTS_FILE)),
        steps=plan.get("steps"),
        epochs=plan.get("epochs"),
        kept_step=kept.step,
        losses=_losses(ledger),
        versions={"podtune": __version__, "TensorFlow": tf.__version__, "Keras": keras.__version__},
    )


def _begun(kept: KeptModel) -> Config:
    """The config that the run was begun with: an export may be given other flags."""
    with contextlib.suppress(UserError):
        return resolve(kept.job.config_file).config
    return kept.parts.config


def _described(backbone: BackboneConfig) -> str:
    kind = "decoder" if backbone.causal else "encoder"
    plural = "s" if backbone.layers > 1 else ""
    sizes = f"{backbone.layers} layer{plural}, {backbone.hidden_size} wide"
    return f"{backbone.architecture} {kind} ({sizes})"


def _language(config: Config, prepared: Prepared | None) -> str | None:
    """Chinese is known by its letters, or by a setting; another language is not."""
    if getattr(config.head, "language", None) == "zh":
        return "zh"
    if prepared is None:
        return None
    texts: list[str] = []
    for sample in prepared.splits["train"].meta["samples"]:
        texts += [value for value in sample.values() if isinstance(value, str)]
    return "zh" if script_of(texts) == CHINESE else None


def _sizes(plan: JsonObject, config: Config) -> dict[str, int]:
    """The examples of each split; of a train that was streamed they were not counted."""
    sizes = {}
    for split, facts in plan.get("splits", {}).items():
        sizes[split] = facts["examples"]
    if config.data.stream_characters:
        sizes.pop("train", None)
    return sizes


def _scores(results: JsonObject) -> dict[str, dict[str, float]]:
    scores = {}
    for split in REPORTED_SPLITS:
        metrics = results.get(split, {})
        numbers = {name: value for name, value in metrics.items() if is_number(value)}
        if numbers:
            scores[split] = numbers
    return scores


def _losses(ledger: Ledger) -> dict[str, dict[str, int]]:
    """What preparation changed, lost or doubted -> how often in each split."""
    losses: dict[str, dict[str, int]] = {}
    for split, kinds in ledger.entries.items():
        for kind, entry in kinds.items():
            meaning = ledger.meanings.get(kind, kind)
            by_split = losses.setdefault(meaning, {})
            by_split[split] = entry["count"]
    return losses
