"""What a name that is none here was probably meant to be."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence

from trainer.settings import schema, sections

PLUGIN_WORDS = {"head": "head", "data": "source"}  # what the modules of a section are called
LONGEST_NAME = 100  # characters of a name that are compared with others
NEAR = 0.5
MISSPELT = 0.75  # nearer: a letter or two
# What Hugging Face, Keras and others call a setting.
ELSEWHERE = {
    **dict.fromkeys(("model", "checkpoint", "model_name_or_path", "preset"), "backbone.weights"),
    "tokenizer_name": "backbone.tokenizer",
    **dict.fromkeys(("train_file", "train_data", "train_path", "dataset"), "data.train"),
    "dataset_name": "data.tfds_name",
    **dict.fromkeys(
        ("validation_file", "validation_data", "valid", "dev", "eval_file"), "data.validation"
    ),
    "test_file": "data.test",
    **dict.fromkeys(
        ("max_length", "max_seq_length", "max_seq_len", "sequence_length", "block_size", "max_len"),
        "data.seq_len",
    ),
    **dict.fromkeys(("stride", "doc_stride"), "data.window_overlap"),
    "truncation": "data.overflow",
    "max_train_samples": "data.limit",
    **dict.fromkeys(("text_column", "text_column_name"), "data.text"),
    **dict.fromkeys(("label_column", "label_column_name", "labels_column"), "data.label"),
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "max_steps": "train.steps",
    **dict.fromkeys(
        ("batch_size", "train_batch_size", "per_device_train_batch_size"), "train.global_batch_size"
    ),
    **dict.fromkeys(
        ("eval_batch_size", "per_device_eval_batch_size"), "train.evaluation_batch_size"
    ),
    "gradient_accumulation_steps": "train.micro_batches",
    "lr": "train.learning_rate",
    "lr_scheduler_type": "train.schedule",
    **dict.fromkeys(("warmup_ratio", "warmup_steps"), "train.warmup_fraction"),
    "adam_beta1": "train.beta_1",
    "adam_beta2": "train.beta_2",
    "adam_epsilon": "train.epsilon",
    "optim": "train.optimizer",
    **dict.fromkeys(("max_grad_norm", "clipnorm", "global_clipnorm"), "train.clip_norm"),
    **dict.fromkeys(("fp16", "bf16", "mixed_precision", "dtype"), "train.precision"),
    "jit_compile": "train.xla",
    "logging_steps": "train.log_every_steps",
    "eval_steps": "train.evaluate_every_steps",
    **dict.fromkeys(("report_to", "loggers", "logger"), "log.trackers"),
    "save_steps": "train.checkpoint_every_steps",
    "save_total_limit": "train.keep_checkpoints",
    "metric_for_best_model": "train.best_metric",
    "patience": "train.early_stopping_patience",
    "max_answer_length": "head.max_answer_tokens",
    "max_query_length": "head.max_question_tokens",
    "n_best_size": "head.n_best",
    "mlm_probability": "head.mask_probability",
    "beams": "head.num_beams",
}


def suggest(value: str, known: Sequence[str]) -> str:
    """Asks whether the nearest known value was meant, behind a space; "" where none is near."""
    near = difflib.get_close_matches(value[:LONGEST_NAME], known, n=1, cutoff=NEAR)
    if not near:
        return ""
    return f" Did you mean {near[0]}?"


def suggest_setting(name: str, known: Sequence[str]) -> str:
    """What a setting is called here: in another section, by another library, or nearly so.

    Args:
        name: SECTION.KEY, as it was written.
        known: the names of all settings.
    """
    name = _as_it_looks(name)
    _, _, key = name.rpartition(".")
    exact = ELSEWHERE.get(key)
    for other in known:
        if other.endswith(f".{key}"):
            exact = other
            break
    if exact is None:
        return suggest(name, known)
    return f" Did you mean {exact}?"


def suggest_key(section: str, key: str) -> str:
    """Where else a key exists, or which known key is nearest.

    Args:
        section: that it was given in.
        key: that the section does not have.
    """
    if section == key:  # such as data.data: the section itself was meant
        return suggest_section(section)
    homes = _homes()
    name = f"{section}.{key}"
    if name in homes:
        having = ", ".join(homes[name])
        return f" It belongs to {PLUGIN_WORDS[section]} {having}."
    return suggest_setting(name, [*homes, *schema.Config.model_fields])


def suggest_section(section: str) -> str:
    """Which section, or which setting, was meant by a section that is none."""
    meant = _as_it_looks(section).strip()
    if meant in schema.Config.model_fields:
        return f" Did you mean {meant}?"
    homes = _homes()
    if section in homes:  # a setting's whole name
        below, _, inner = section.partition(".")
        return f" Without the dot: {below}: {{{inner}: …}}."
    near = difflib.get_close_matches(meant, schema.Config.model_fields, n=1, cutoff=MISSPELT)
    if near:  # before a setting, of which there are many
        return f" Did you mean {near[0]}?"
    return suggest_setting(f"{section}.{section}", [*homes, *schema.Config.model_fields])


def _homes() -> dict[str, list[str]]:
    """SECTION.KEY -> the heads or sources that have it."""
    homes: dict[str, list[str]] = {}
    for section in schema.Config.model_fields:
        for module, cls in sections.section_classes(section).items():
            for key in cls.model_fields:
                having = homes.setdefault(f"{section}.{key}", [])
                having.append(module)
    return homes


def _as_it_looks(name: str) -> str:
    """In small letters of normal width: full-width ones are meant as what they look like."""
    narrow = unicodedata.normalize("NFKC", name[:LONGEST_NAME])
    return narrow.lower()
