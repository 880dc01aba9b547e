"""What a fine-tuned checkpoint has beside its backbone: the tensors of its task, and its labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.backbones.huggingface.checkpoint import Checkpoint
from trainer.backbones.huggingface.checkpoint_folder import (
    CONFIG_FILE,
    Folder,
    has_weights,
    named_class,
    read_content,
)
from trainer.backbones.huggingface.config_file import read_config
from trainer.errors import WeightsError, shown_value

_TASK = re.compile(r"For[A-Z][A-Za-z]*")
_ROW = re.compile(r"[0-9]{1,9}")
_EXAMPLES = {
    "id2label": '{"0": "negative", "1": "positive"}',
    "label2id": '{"negative": 0, "positive": 1}',
}


@dataclasses.dataclass(frozen=True)
class TaskHead:
    """The part of a fine-tuned checkpoint that is not the backbone.

    Attributes:
        tensors: float32 under Hugging Face's names, such as classifier.weight (C, H).
        id2label, label2id: as config.json has them; None where it has none.
        problem_type, num_labels: the same.
        task: how the name of its class ends, such as ForTokenClassification; "" where config.json
            names none.
    """

    tensors: dict[str, np.ndarray]
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    problem_type: str | None = None
    num_labels: int | None = None
    task: str = ""

    @property
    def labels(self) -> list[str] | None:
        """The labels in the order of the rows; None where config.json names none."""
        label_of_row = self.id2label or {}
        if not label_of_row and self.label2id:
            label_of_row = {row: label for label, row in self.label2id.items()}
        labels = [label_of_row[row] for row in sorted(label_of_row)]
        return labels or None


def read_task_head(folder: Folder) -> TaskHead:
    """Reads what a fine-tuned checkpoint adds to its backbone.

    Args:
        folder: with config.json; without weights the tensors are empty.
    Returns:
        The tensors and labels; None for what config.json does not say.
    Raises:
        WeightsError: see `read_config` and `has_weights`, or the file is damaged.
    """
    content = read_content(Path(folder))
    family = read_config(folder).family
    tensors = {}
    if has_weights(folder):
        tensors = Checkpoint.open(folder, family).task_tensors()
    where = str(Path(folder) / CONFIG_FILE)
    id2label = _read_id2label(content, where)
    label2id = _read_label2id(content, where)
    problem_type = content.get("problem_type")
    return TaskHead(
        tensors,
        id2label=id2label or None,
        label2id=label2id or None,
        problem_type=problem_type if isinstance(problem_type, str) else None,
        num_labels=len(id2label) or _read_num_labels(content),
        task=_task_of(content),
    )


def _read_id2label(content: Mapping[str, object], where: str) -> dict[int, str]:
    """Row -> label, in the order of the rows; {} where config.json names none.

    Raises:
        WeightsError: it is no mapping of rows to names.
    """
    label_of_row: dict[int, str] = {}
    for row, label in _mapping(content, "id2label", where).items():
        is_row = _ROW.fullmatch(row) is not None
        if not is_row or not isinstance(label, str | int | float):
            raise _damaged(where, "id2label", {row: label})
        label_of_row[int(row)] = str(label)
    by_row = sorted(label_of_row.items())
    return dict(by_row)


def _read_label2id(content: Mapping[str, object], where: str) -> dict[str, int]:
    """Label -> row; {} where config.json has none.

    Raises:
        WeightsError: it is no mapping of names to rows.
    """
    row_of_label: dict[str, int] = {}
    for label, row in _mapping(content, "label2id", where).items():
        digits = str(row)
        if isinstance(row, bool) or not _ROW.fullmatch(digits):
            raise _damaged(where, "label2id", {label: row})
        row_of_label[label] = int(digits)
    return row_of_label


def _mapping(content: Mapping[str, object], key: str, where: str) -> dict[str, object]:
    mapping = content.get(key) or {}
    if not isinstance(mapping, dict):
        raise _damaged(where, key, mapping)
    return {str(name): value for name, value in mapping.items()}


def _damaged(where: str, key: str, value: object) -> WeightsError:
    return WeightsError(
        f"{where}: {key} is {shown_value(value)}: expected labels by their rows, such as"
        f" {_EXAMPLES[key]}. Correct it, or remove {key}"
    )


def _read_num_labels(content: Mapping[str, object]) -> int | None:
    num_labels = content.get("num_labels")
    if isinstance(num_labels, bool) or not isinstance(num_labels, int):
        return None
    return num_labels


def _task_of(content: Mapping[str, object]) -> str:
    """How the name of the checkpoint's class ends; "" where it is a backbone, or none is named."""
    ending = _TASK.search(named_class(content))
    return ending[0] if ending else ""
