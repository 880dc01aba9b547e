"""The family of a checkpoint whose config.json does not say its model_type."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from trainer.backbones.families import families
from trainer.backbones.family import Family, Shaped
from trainer.backbones.huggingface.bare_names import unwrapped_names
from trainer.backbones.huggingface.counterparts import counterpart

_TASK = r"(Model|LMHeadModel|DoubleHeadsModel|For[A-Z]\w*)"  # how the name of a class ends


def family_of(tensors: Mapping[str, Shaped], class_name: str) -> str | None:
    """Finds the model_type by the class, else by the tensors.

    Args:
        tensors: of the checkpoint; {} where it has no weights.
        class_name: that config.json names; "" where it names none.
    Returns:
        The model_type; None where none or several could be meant.
    """
    for family in families().values():
        if _is_a_class_of(family, class_name):
            return family.model_type
    unwrapped, _ = unwrapped_names(tensors)
    possible = [family for family in families().values() if _has_a_layer_of(family, unwrapped)]
    if len(possible) == 1:
        return possible[0].model_type
    present = {name: tensors[original] for name, original in unwrapped.items()}
    return _told_apart(possible, present)


def _is_a_class_of(family: Family, class_name: str) -> bool:
    pattern = family.class_name + _TASK
    return re.fullmatch(pattern, class_name) is not None


def _has_a_layer_of(family: Family, names: Collection[str]) -> bool:
    """Whether a layer's query stands where the family has it, behind whatever prefix."""
    path = "layer_0/attention/query_key_value/kernel"
    query = counterpart(family, path).names[0]
    before, behind = map(re.escape, query.split("0", maxsplit=1))
    pattern = re.compile(rf"(.*\.)?{before}\d+{behind}")
    return any(map(pattern.fullmatch, names))


def _told_apart(possible: Sequence[Family], tensors: Mapping[str, Shaped]) -> str | None:
    """The family of tensors whose layers several have: by its prefix, else by its marks."""
    for family in possible:
        if family.marks and _have_prefix(tensors, family.prefix):
            return family.model_type
    for family in possible:
        if family.marks and family.marks(tensors):
            return family.model_type
    return None


def _have_prefix(names: Iterable[str], prefix: str) -> bool:
    """Whether a name has the prefix, behind whatever else."""
    return any(f".{prefix}" in f".{name}" for name in names)
