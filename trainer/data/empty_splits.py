"""Why a split has no examples, for the message that refuses it."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.data.ledger import LEFT_OUT, Ledger
from trainer.errors import DataError
from trainer.settings.schema import DataSettings


def refuse_empty_split(
    name: str,
    counts: Mapping[str, int],
    settings: DataSettings,
    ledger: Ledger,
    *,
    whole_documents: bool,
) -> None:
    """Raises DataError for a split without examples.

    Args:
        counts: examples of each split.
        whole_documents: whether documents are never torn between splits.
    """
    _refuse_without_gold(name, ledger)
    spec = getattr(settings, name)
    if isinstance(spec, float):
        advice = " A document is never torn: let data.document make more of them."
        raise DataError(
            f"data.{name} = {spec}: no examples: of the {sum(counts.values()):,} of data.train none"
            " fell into this fraction. Hold out a larger one, or name a file."
            f"{advice if whole_documents else ''}"
        )
    held_out = [other for other in counts if isinstance(getattr(settings, other), float)]
    if taken := [f"{other} got {counts[other]:,}" for other in held_out if counts[other]]:
        raise DataError(
            f"data.train = {settings.train}: no examples are left: {', '.join(taken)}. Texts that"
            " are equal are held out together, and all may be. Give more different texts, or files"
            " of their own."
        )
    raise DataError(f"data.{name} = {spec}: no examples. Check the path.")


def _refuse_without_gold(name: str, ledger: Ledger) -> None:
    """Raises DataError where all examples of a split were left out."""
    left_out = {kind: count for kind in LEFT_OUT if (count := ledger.count(name, kind))}
    if not left_out:
        return
    if "excluded_labels" in left_out:
        raise DataError(
            f"data.{name}: no examples are left: {left_out['excluded_labels']:,} have a label of"
            " data.exclude_labels. Exclude fewer."
        )
    first = ledger.first(name, next(iter(left_out)))
    advice = "Is --data.label the right field?"
    if name == "test":
        advice = "Remove data.test: --mode=predict answers such a file"
    raise DataError(
        f"data.{name}: none of its {sum(left_out.values()):,} examples has a gold label (first:"
        f" {first}): it is empty, null, or a mark such as -1 that says so. {advice}"
    )
