"""What TensorBoard shows of a classifier's answers: PR curves, and the confusion as an image."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from trainer.files import mirror
from trainer.lazy import tf
from trainer.report.confusion import draw_confusion, height_of
from trainer.report.evidence import Evidence, Line
from trainer.report.figures import drawing
from trainer.run.job import Job

MOST_LABELS = 20  # that have a curve of their own, or are drawn
DOTS_AN_INCH = 110


def write_pictures(job: Job, evidence: Evidence, step: int) -> None:
    """Writes them to the logs of each split, where answers have probabilities.

    Args:
        job: that has the logs.
        evidence: of the run.
        step: of the model.
    """
    for split, lines in evidence.splits.items():
        if "probabilities" not in lines[0]:
            continue
        writer = tf.summary.create_file_writer(str(job.logs / split))
        with contextlib.closing(writer), writer.as_default(step=step):
            _write_curves(lines)
            is_few = len(lines[0]["probabilities"]) <= MOST_LABELS
            if is_few and isinstance(lines[0]["gold"], str):
                tf.summary.image("confusion", _confusion(lines)[None])
    mirror.add(job.logs)


def _write_curves(lines: Sequence[Line]) -> None:
    """A curve a label, one against the rest; the most frequent ones."""
    from tensorboard.plugins.pr_curve.summary import pb

    names = list(lines[0]["probabilities"])
    scores = np.array([list(line["probabilities"].values()) for line in lines])
    gold = np.array([[_has(line, name) for name in names] for line in lines])
    for label in np.argsort(-gold.sum(axis=0), kind="stable")[:MOST_LABELS].tolist():
        tag = f"pr_curve/{names[label]}"
        curve = pb(tag, gold[:, label], np.clip(scores[:, label], 0, 1))
        tf.summary.experimental.write_raw_pb(curve.SerializeToString())


def _has(line: Line, name: str) -> bool:
    gold = line["gold"]
    return gold == name if isinstance(gold, str) else name in gold


def _confusion(lines: Sequence[Line]) -> np.ndarray:
    """(height, width, 4) uint8."""
    import matplotlib.image

    names = list(dict.fromkeys([*lines[0]["probabilities"], *(line["gold"] for line in lines)]))
    places = {name: place for place, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for line in lines:
        matrix[places[line["gold"]], places[line["answer"]]] += 1
    file = io.BytesIO()
    with drawing(height=height_of(names)) as (figures, (axes,)):
        draw_confusion(axes, matrix, names, "answered", "labelled")
        figures[0].savefig(file, format="png", dpi=DOTS_AN_INCH, facecolor="white")
    file.seek(0)
    pixels = matplotlib.image.imread(file, format="png")
    return np.asarray(pixels * 255, np.uint8)
