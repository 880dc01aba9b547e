"""Whose tensors a checkpoint has, by their names: what stands before them, and the family where
config.json does not say it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Protocol

from trainer.backbones.families import FAMILIES
from trainer.errors import WeightsError, shown_name

_LEGACY = {"gamma": "weight", "beta": "bias"}  # names in checkpoints converted from TensorFlow 1
_COMPILED = "_orig_mod"  # torch.compile's, at whatever depth
# What programs put before every tensor's name: DataParallel, Lightning and the like, PEFT,
# sentence-transformers.
_WRAPPERS = (
    "module.",
    "model.",
    "base_model.model.",
    "base_model.",
    "auto_model.",
    "0.auto_model.",
)
_TYPICAL = {  # of the families whose layers no other has
    "albert": re.compile(r"(.*\.)?encoder\.albert_layer_groups\.\d+\..*"),
    "distilbert": re.compile(r"(.*\.)?transformer\.layer\.\d+\.attention\.q_lin\.weight"),
    "gpt2": re.compile(r"(.*\.)?h\.\d+\.attn\.c_attn\.weight"),
}
_BERTS_LAYER = re.compile(r"(.*\.)?encoder\.layer\.\d+\.attention\.self\.query\.weight")


class Shaped(Protocol):
    """What has a shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""


@dataclasses.dataclass(frozen=True)
class BareNames:
    """A checkpoint's tensors without what stands before their names.

    Attributes:
        theirs: bare, present-day name -> name in the file.
        outside: those of them that stand beside the backbone: its own all have a prefix in common,
            and these do not.
        removed: what was taken off beside the family's own prefix, such as "_orig_mod."; "" where
            nothing was.
    """

    theirs: dict[str, str]
    outside: frozenset[str]
    removed: str


def bare_names(names: Collection[str], architecture: str) -> BareNames:
    """Takes off wrappers that all names have, and the prefix of the backbone.

    Raises:
        WeightsError: two tensors are the same one then.
    """
    family = FAMILIES[architecture]
    word = f"{family.modules['embeddings/word']}.weight"
    unwrapped, removed = _unwrapped(names)
    prefixes = {
        name.removesuffix(word) for name in unwrapped if name == word or name.endswith(f".{word}")
    }
    prefix = next(iter(prefixes)) if len(prefixes) == 1 else family.prefix
    if _is_of_another_family(prefix, architecture):
        prefix = family.prefix
    if prefix not in ("", family.prefix):
        removed += prefix.removesuffix(family.prefix)
    theirs: dict[str, str] = {}
    outside = set()
    for name, original in unwrapped.items():
        bare = name.removeprefix(prefix)
        if bare in theirs:
            raise WeightsError(
                f"the weights have {shown_name(bare)} twice, as {shown_name(theirs[bare])} and as"
                f" {shown_name(original)}: save the model again"
            )
        theirs[bare] = original
        if prefix in prefixes and prefix and not name.startswith(prefix):
            outside.add(bare)
    return BareNames(theirs, frozenset(outside), removed)


def _unwrapped(names: Collection[str]) -> tuple[dict[str, str], str]:
    """Present-day names without wrappers -> names, and the wrappers."""
    found = {
        name: present_name(".".join(part for part in name.split(".") if part != _COMPILED))
        for name in names
    }
    removed = f"{_COMPILED}." if any(_COMPILED in name.split(".") for name in names) else ""
    while found and (
        wrapper := next(
            (w for w in _WRAPPERS if all(name.startswith(w) for name in found.values())), None
        )
    ):
        found = {original: name.removeprefix(wrapper) for original, name in found.items()}
        removed += wrapper
    unwrapped: dict[str, str] = {}
    for original, name in found.items():
        if name in unwrapped:
            raise WeightsError(
                f"the weights have {shown_name(name)} twice, as {shown_name(unwrapped[name])} and"
                f" as {shown_name(original)}: save the model again"
            )
        unwrapped[name] = original
    return unwrapped, removed


def present_name(name: str) -> str:
    """The name that a tensor has in checkpoints of today."""
    stem, dot, leaf = name.rpartition(".")
    return stem + dot + _LEGACY.get(leaf, leaf)


def _is_of_another_family(prefix: str, architecture: str) -> bool:
    """Whether the name before the tensors is one that another family uses: the numbers would be
    taken for something else.
    """
    last = prefix.rstrip(".").rpartition(".")[2] + "."
    return last != FAMILIES[architecture].prefix and any(
        last == family.prefix for family in FAMILIES.values()
    )


def family_of(tensors: Mapping[str, Shaped], classes: object) -> str | None:
    """The model_type of a checkpoint whose config.json does not say it; None where several could be
    meant.

    Args:
        tensors: of the checkpoint; {} where it has no weights.
        classes: `architectures` of config.json.
    """
    named = (
        classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else ""
    )
    for model_type, family in FAMILIES.items():
        if re.fullmatch(
            rf"{family.class_name}(Model|LMHeadModel|DoubleHeadsModel|For[A-Z]\w*)", named
        ):
            return model_type
    for model_type, pattern in _TYPICAL.items():
        if any(map(pattern.fullmatch, tensors)):
            return model_type
    unwrapped, _ = _unwrapped(tensors)
    if not any(map(_BERTS_LAYER.fullmatch, unwrapped)):
        return None
    return _of_berts_kind({name: tensors[original] for name, original in unwrapped.items()})


def _of_berts_kind(tensors: Mapping[str, Shaped]) -> str | None:
    """BERT, RoBERTa and ELECTRA have layers of the same names: the prefix tells, or what is around
    the layers.
    """
    for model_type in ("bert", "electra", "roberta"):
        if any(f".{name}".find(f".{FAMILIES[model_type].prefix}") >= 0 for name in tensors):
            return model_type
    if any(name.endswith("embeddings_project.weight") for name in tensors):
        return "electra"
    segments = next(
        (
            tensor
            for name, tensor in tensors.items()
            if name.endswith("embeddings.token_type_embeddings.weight")
        ),
        None,
    )
    if segments is None or not segments.shape:
        return None
    if segments.shape[0] == 1:
        return "roberta"
    return "bert" if any(name.endswith("pooler.dense.weight") for name in tensors) else None
