"""What TensorBoard reads: PR curves as scikit-learn has them, an image, and a profile."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import precision_score, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests import toy
from tests.report import lines
from trainer.report.tensorboard import write_pictures
from trainer.run.hooks.hook import At
from trainer.run.job import Job

pytestmark = pytest.mark.heavy


def test_curves_and_confusion_are_those_of_the_answers(tmp_path):
    answers = lines.drawn(300, ("a", "b", "c"))
    job = Job(str(tmp_path / "job"))
    write_pictures(job, lines.evidence(answers, {"name": "classification"}), 7)
    events = EventAccumulator(str(job.logs / "test")).Reload()
    (image,) = events.Tensors("confusion")
    width, _, png = tf.make_ndarray(image.tensor_proto)
    assert image.step == 7 and int(width) > 200 and png.startswith(b"\x89PNG")
    (curve,) = events.Tensors("pr_curve/a/pr_curves")
    values = tf.make_ndarray(curve.tensor_proto)
    true, false, _, missed, precision, recall = values  # at 201 thresholds
    gold = np.array([line["gold"] == "a" for line in answers])
    scores = np.array([line["probabilities"]["a"] for line in answers])
    for place in (20, 100, 170):
        given = scores >= place / (values.shape[1] - 1)
        assert precision[place] == pytest.approx(precision_score(gold, given, zero_division=0))
        assert recall[place] == pytest.approx(recall_score(gold, given))
    assert true[0] == gold.sum() and false[0] == (~gold).sum() and missed[0] == 0


@pytest.mark.parametrize("steps", [[2, 3], [5, 99]])
def test_some_steps_are_profiled(tmp_path, toy_weights, steps, capsys):
    train = toy.write_sentences(tmp_path / "train.jsonl", 40)
    config = toy.write_config(
        tmp_path, toy_weights, train, train={"steps": 6}, log={"profile_steps": steps}
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    traces = list((tmp_path / "job").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000
    last = min(steps[1], 6)
    assert f"profile: steps {steps[0]} to {last}, in " in capsys.readouterr().err


def test_a_run_that_ends_between_the_steps_keeps_what_was_seen(tmp_path, toy_weights, capsys):
    train = toy.write_sentences(tmp_path / "train.jsonl", 60)
    config = toy.write_config(
        tmp_path,
        toy_weights,
        train,
        data={"validation": 0.3},
        train={
            "steps": 40,
            "evaluate_every_steps": 2,
            "early_stopping_patience": 1,
            "early_stopping_min_delta": 5.0,
        },
        log={"profile_steps": [2, 39]},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    assert len(list((tmp_path / "job").rglob("*.xplane.pb"))) == 1
    assert "profile: steps 2 to 4, in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[5, 3]", "not before it"),
        ("[1, 3]", "expected list of 2 integer >= 2 or null. Received [1, 3]"),
    ],
)
def test_steps_that_are_none_are_told(tmp_path, toy_weights, steps, said, capsys):
    train = toy.write_sentences(tmp_path / "train.jsonl", 20)
    config = toy.write_config(tmp_path, toy_weights, train)
    assert toy.run_main(config, tmp_path / "job", f"--log.profile_steps={steps}") == 2
    assert said in capsys.readouterr().err


def test_at_some_steps():
    at = At((3, 8))
    assert [step for step in range(12) if at.is_due(step)] == [3, 8]
    assert [at.steps_left(step) for step in (0, 3, 7)] == [3, 5, 1]
    assert at.steps_left(8) > 10**6
