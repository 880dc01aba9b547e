"""The settings of every head that classifies."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from trainer.settings.schema import HeadSettings

LabelNames: TypeAlias = Annotated[list[str], Field(min_length=1)]
Weight: TypeAlias = Annotated[float, Field(gt=0)]


class ClassifierSettings(HeadSettings):
    """What every head that classifies has."""

    has_classes: ClassVar[bool] = True

    kind: Literal["single_label", "multi_label", "regression"] = Field(
        "single_label", description="one of the labels, any of them, or a number"
    )
    labels: LabelNames | None = Field(
        None, description="all labels, in order; null: those of train, sorted"
    )
    label_separator: str = Field(
        "|",
        min_length=1,
        description="multi_label: between labels where the field is text, not a list",
    )
    class_weights: Literal["balanced"] | dict[str, Weight] | None = Field(
        None,
        description=(
            "single_label: weight of each label's examples in the loss; balanced: n / (C * n_label)"
        ),
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the target spread over all labels"
    )
    calibrate: bool = Field(
        False,
        description=(
            "single_label: let validation choose a temperature, by which logits are divided before"
            " they become probabilities"
        ),
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="multi_label: probability from which a label is given"
    )
