"""Whose tensors a checkpoint has, by their names: what stands before them, and the family where
config.json does not say it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

from trainer.backbones.families import families
from trainer.backbones.family import Family, Shaped
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
    family = families()[architecture]
    word = family.word_embeddings
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
    return last != families()[architecture].prefix and any(
        last == family.prefix for family in families().values()
    )


def family_of(tensors: Mapping[str, Shaped], classes: object) -> str | None:
    """The model_type of a checkpoint whose config.json does not say it.

    Args:
        tensors: of the checkpoint; {} where it has no weights.
        classes: `architectures` of config.json.
    Returns:
        None where several could be meant.
    """
    for family in families().values():
        if _is_a_class_of(family, classes):
            return family.model_type
    unwrapped, _ = _unwrapped(tensors)
    possible = [family for family in families().values() if _has_a_layer_of(family, unwrapped)]
    if len(possible) == 1:
        return possible[0].model_type
    present = {name: tensors[original] for name, original in unwrapped.items()}
    return _told_apart(possible, present)


def _is_a_class_of(family: Family, classes: object) -> bool:
    name = classes[0] if isinstance(classes, list) and classes else None
    task = r"(Model|LMHeadModel|DoubleHeadsModel|For[A-Z]\w*)"
    return isinstance(name, str) and bool(re.fullmatch(family.class_name + task, name))


def _has_a_layer_of(family: Family, names: Collection[str]) -> bool:
    """Whether a layer's query stands where the family has it, behind whatever prefix."""
    modules = family.modules["layer_#/attention/query_key_value"]
    query = modules if isinstance(modules, str) else modules[0]
    pattern = re.compile(r"(.*\.)?" + re.escape(query).replace(r"\#", r"\d+") + r"\.weight")
    return any(map(pattern.fullmatch, names))


def _told_apart(possible: Sequence[Family], tensors: Mapping[str, Shaped]) -> str | None:
    """The family of tensors whose layers several have: by its prefix, else by its marks."""
    for family in possible:
        if family.marks and any(f".{family.prefix}" in f".{name}" for name in tensors):
            return family.model_type
    for family in possible:
        if family.marks and family.marks(tensors):
            return family.model_type
    return None
