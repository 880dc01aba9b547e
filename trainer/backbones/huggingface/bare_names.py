"""The names of a checkpoint's tensors without what programs have put before them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from trainer.backbones.families import families
from trainer.backbones.family import Family
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
        outside: the bare names that stand beside the backbone: its own all have a prefix in common,
            and these do not.
        removed: what was taken off beside the family's own prefix, such as "_orig_mod."; "" where
            nothing was.
    """

    theirs: dict[str, str]
    outside: frozenset[str]
    removed: str


def bare_names(names: Collection[str], family: Family) -> BareNames:
    """Takes off wrappers that all names have, and the prefix of the backbone.

    Args:
        names: of the tensors in the file.
        family: of the checkpoint.
    Raises:
        WeightsError: two tensors have the same name then.
    """
    unwrapped, removed = unwrapped_names(names)
    prefix, is_found = _prefix(unwrapped, family)
    if prefix not in ("", family.prefix):
        removed += prefix.removesuffix(family.prefix)
    bare_name_of = {}
    outside = set()
    for name, original in unwrapped.items():
        bare = name.removeprefix(prefix)
        bare_name_of[original] = bare
        if is_found and bare == name:
            outside.add(bare)
    return BareNames(
        theirs=_unique(bare_name_of),
        outside=frozenset(outside),
        removed=removed,
    )


def unwrapped_names(names: Collection[str]) -> tuple[dict[str, str], str]:
    """Takes off wrappers that all names have.

    Returns:
        Present-day name without wrappers -> name in the file; the wrappers.
    Raises:
        WeightsError: two tensors have the same name then.
    """
    removed = ""
    bare_name_of = {}
    for original in names:
        parts = original.split(".")
        if _COMPILED in parts:
            removed = f"{_COMPILED}."
        kept = [part for part in parts if part != _COMPILED]
        bare_name_of[original] = present_name(".".join(kept))
    wrapper = _common_wrapper(bare_name_of.values())
    while wrapper:
        removed += wrapper
        for original, name in bare_name_of.items():
            bare_name_of[original] = name.removeprefix(wrapper)
        wrapper = _common_wrapper(bare_name_of.values())
    return _unique(bare_name_of), removed


def _common_wrapper(names: Collection[str]) -> str:
    """The first wrapper that all names have; "" where there is none."""
    for wrapper in _WRAPPERS:
        if names and all(name.startswith(wrapper) for name in names):
            return wrapper
    return ""


def present_name(name: str) -> str:
    """The name that a tensor has in checkpoints of today."""
    stem, dot, leaf = name.rpartition(".")
    return stem + dot + _LEGACY.get(leaf, leaf)


def _unique(bare_name_of: Mapping[str, str]) -> dict[str, str]:
    """Bare name -> name in the file.

    Raises:
        WeightsError: two tensors have the same bare name.
    """
    originals: dict[str, str] = {}
    for original, bare in bare_name_of.items():
        if bare in originals:
            raise WeightsError(
                f"the weights have {shown_name(bare)} twice, as {shown_name(originals[bare])} and"
                f" as {shown_name(original)}: save the model again"
            )
        originals[bare] = original
    return originals


def _prefix(names: Collection[str], family: Family) -> tuple[str, bool]:
    """What stands before the backbone's tensors, and whether they have it.

    The word embeddings show it. Without them, or with several, it is the family's own.
    """
    word = family.word_embeddings
    shown = {
        name.removesuffix(word)  # the prefix
        for name in names
        if f".{name}".endswith(f".{word}")
    }
    prefix = family.prefix
    if len(shown) == 1:
        (prefix,) = shown
    if _is_of_another_family(prefix, family):
        prefix = family.prefix
    return prefix, bool(prefix) and prefix in shown


def _is_of_another_family(prefix: str, family: Family) -> bool:
    """Whether another family has this prefix: its numbers would be taken for something else."""
    _, _, last = prefix.rstrip(".").rpartition(".")
    others = {other.prefix for other in families().values() if other.prefix != family.prefix}
    return f"{last}." in others
