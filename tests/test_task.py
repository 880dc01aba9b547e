"""The entry point as a process: what it answers, how fast, and with which code; and what a run
leaves in the job_dir.
"""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import yaml
from safetensors.numpy import load_file

from tests import toy
from trainer.errors import JobDirError
from trainer.run import compiled_shapes, step_layouts
from trainer.run.checkpoints import Checkpoints
from trainer.run.evaluation import is_better
from trainer.run.results import Results
from trainer.run.run_state import RunState
from trainer.serve import export
from trainer.serve.proof import ExportRefusedError
from trainer.settings.schema import DataSettings
from trainer.settings.sections import plugin_module

SOON = 3.0  # seconds; about 0.5 where nothing else runs


def task(*arguments):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "trainer.task", *arguments],
        cwd=toy.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    imported = {
        line.rsplit("|", 1)[1].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    error = "\n".join(
        line for line in done.stderr.splitlines() if not line.startswith("import time:")
    )
    print(f"{arguments}: {seconds:.2f} s")
    assert not {
        name
        for name in imported
        if name.split(".")[0] in ("tensorflow", "keras", "sklearn", "scipy")
    }
    assert seconds < SOON
    return done.returncode, done.stdout, error


def test_help_answers_at_once():
    code, output, error = task("--help")
    assert code == 0 and error == ""
    assert (
        "--train.learning_rate: number > 0, <= 10 (default: 5.0e-05)\n      at the end of warm-up"
        in output
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--train.learning_rat=1",),
            (
                "error: unknown flag --train.learning_rat. Did you mean --train.learning_rate?"
                " --help lists every flag."
            ),
        ),
        (
            ("--config=configs/quickstrat.yaml",),
            (
                "error: --config=configs/quickstrat.yaml: no such file. Did you mean"
                " configs/quickstart.yaml?"
            ),
        ),
        (
            ("--config=configs/quickstart.yaml", "--train.epochs=-1"),
            (
                "error: 1 problem in the configuration:\n  train.epochs: expected number > 0 or"
                " null. Received -1 (--train.epochs)."
            ),
        ),
    ],
)
def test_a_mistake_is_answered_at_once_without_a_traceback(arguments, message):
    assert task(*arguments) == (2, "", message)


def test_a_run_leaves_its_contract_in_the_job_dir(trained):
    assert {path.name for path in trained.iterdir() if not path.name.startswith(".")} == {
        "config.yaml",
        "plan.json",
        "ledger.json",
        "vocabulary.json",
        "metrics.jsonl",
        "results.json",
        "predictions.jsonl",
        "checkpoints",
        "logs",
        "model",
    }
    results = json.loads((trained / "results.json").read_text())
    # a keyword decides
    assert results["validation"]["accuracy"] == results["test"]["accuracy"] == 1.0
    names = {"accuracy", "f1_macro", "precision_macro", "recall_macro", "loss", "auc_roc"}
    assert set(results["validation"]) == set(results["test"]) == names
    assert (
        set(results["per_label"]) == {"validation", "test"}
        and results["per_label"]["test"]["neg"]["f1"] == 1.0
    )
    assert {
        "startup_s",
        "prepare_s",
        "compile_s",
        "train_s",
        "input_wait_s",
        "evaluate_s",
        "checkpoint_s",
        "export_s",
    } == set(results["timeline"])
    assert all(value >= 0 for value in results["timeline"].values())
    assert (
        results["throughput"]["examples_per_s"] > 0
        and results["throughput"]["real_tokens_per_s"] > 0
    )
    assert results["step"] == 30 and results["model"] == str(trained / "model")


def test_metrics_have_a_line_for_each_log_point(trained):
    lines = toy.read_jsonl(trained / "metrics.jsonl")
    train = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in train] == list(range(1, 31))
    assert set(train[0]) == {"step", "split", "loss", "learning_rate", "gradient_norm", "epoch"}
    assert train[2]["learning_rate"] == pytest.approx(3e-3) and train[-1][
        "learning_rate"
    ] == pytest.approx(3e-3 / 27, rel=1e-4)
    validation = [line for line in lines if line["split"] == "validation"]
    assert validation[-1]["step"] == 30 and validation[-1]["accuracy"] == 1.0
    last = json.loads((trained / "results.json").read_text())["validation"]
    assert {
        key: value for key, value in validation[-1].items() if key not in ("step", "split")
    } == last


def test_the_resolved_config_is_a_config(trained):
    values = yaml.safe_load((trained / "config.yaml").read_text())
    assert values["train"]["steps"] == 30 and values["train"]["beta_1"] == 0.9


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run whose validation labels are the opposite of train's: the loss only rises.

    Evaluated every 4 steps.
    """
    folder = tmp_path_factory.mktemp("stopped")
    weights = toy.write_checkpoint(folder / "weights", layers=1, hidden=16)
    opposite = [
        {**row, "label": {"pos": "neg", "neg": "pos"}[row["label"]]}
        for row in toy.sentences(20, seed=5)
    ]
    validation = toy.write_jsonl(folder / "dev.jsonl", opposite)
    config = toy.write_config(
        folder,
        weights,
        toy.write_sentences(folder / "train.jsonl", 64),
        data={"validation": str(validation)},
        train={
            "steps": 400,
            "evaluate_every_steps": 4,
            "early_stopping_patience": 3,
            "best_metric": "loss",
            "keep_checkpoints": 1,
            "warmup_fraction": 0,
            "learning_rate": 3e-3,
        },
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder / "job"


def test_early_stopping_stops_after_its_patience_and_keeps_the_best(stopped):
    evaluations = {
        line["step"]: line["loss"]
        for line in toy.read_jsonl(stopped / "metrics.jsonl")
        if line["split"] == "validation"
    }
    best = min(evaluations, key=evaluations.get)
    assert max(evaluations) == best + 3 * 4 < 400
    results = json.loads((stopped / "results.json").read_text())
    assert results["step"] == best and results["validation"]["loss"] == pytest.approx(
        evaluations[best], rel=1e-6
    )
    assert {path.name for path in (stopped / "checkpoints").iterdir()} == {
        f"step_{best:08d}",
        f"step_{max(evaluations):08d}",
    }


def test_the_last_evaluation_is_not_made_twice(tmp_path, monkeypatch):
    from trainer.run.evaluation import Evaluator

    made, results = [], Evaluator.results
    monkeypatch.setattr(
        Evaluator,
        "results",
        lambda self, store, *args, **keys: (
            made.append(len(store)) or results(self, store, *args, **keys)
        ),
    )
    weights = toy.write_checkpoint(tmp_path / "weights", layers=1, hidden=16)
    dev, test = (
        toy.write_sentences(tmp_path / f"{name}.jsonl", size)
        for name, size in (("dev", 20), ("test", 12))
    )
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_sentences(tmp_path / "train.jsonl", 64),
        data={"validation": str(dev), "test": str(test)},
        train={"steps": 4, "evaluate_every_steps": 2},
    )
    assert toy.run_main(config, tmp_path / "job", "--export.format=savedmodel") == 0
    assert made == [20, 20, 12]  # after steps 2 and 4, and the test
    last = [
        line
        for line in toy.read_jsonl(tmp_path / "job" / "metrics.jsonl")
        if line["split"] == "validation"
    ][-1]
    assert json.loads((tmp_path / "job" / "results.json").read_text())["validation"] == {
        k: v for k, v in last.items() if k not in ("step", "split")
    }
    assert toy.run_main(None, tmp_path / "job", "--mode=evaluate") == 0 and made == [
        20,
        20,
        12,
        20,
        12,
    ]


def test_an_export_that_fails_loses_no_metric(stopped, tmp_path, monkeypatch):
    job = tmp_path / "job"
    shutil.copytree(stopped, job)
    results = json.loads((job / "results.json").read_text())
    (job / "results.json").unlink()

    def refuse(*_, **__):
        raise ExportRefusedError("it answers otherwise")

    monkeypatch.setattr(export, "export_saved_model", refuse)
    with pytest.raises(ExportRefusedError):
        toy.run_main(job / "config.yaml", job, "--export.format=savedmodel")
    assert json.loads((job / "results.json").read_text()) == {
        key: results[key] for key in ("validation", "per_label", "step")
    }


def test_a_job_that_exports_nothing_says_what_to_export(stopped, capsys):
    assert toy.run_main(None, stopped, "--mode=export", "--export.format=none") == 2
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "error: export.format: the job was trained with none, which writes nothing. "
        "Set --export.format=savedmodel or --export.format=huggingface."
    )


def test_a_stopped_run_stays_stopped_and_can_be_evaluated_and_exported_again(
    stopped, tmp_path, capsys
):
    job = tmp_path / "job"
    shutil.copytree(stopped, job)
    results = json.loads((job / "results.json").read_text())
    metrics = (job / "metrics.jsonl").read_bytes()
    (job / "results.json").unlink()
    assert toy.run_main(None, job, "--mode=evaluate") == 0
    assert json.loads((job / "results.json").read_text()) == {
        key: results[key] for key in ("validation", "per_label", "step")
    }
    assert toy.run_main(None, job, "--mode=export", "--export.format=huggingface") == 0
    prefix = str(job / "checkpoints" / f"step_{results['step']:08d}" / "weights")
    kernel = tf.train.load_variable(prefix, "model/head/output/kernel")
    exported = load_file(job / "huggingface" / "model.safetensors")["classifier.weight"]
    np.testing.assert_array_equal(exported.T, kernel)
    assert (job / "metrics.jsonl").read_bytes() == metrics
    assert f"keeping the best checkpoint, of step {results['step']}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("head", "metric", "value", "best", "min_delta", "better"),
    [
        ({"name": "classification"}, "accuracy", 0.5, None, 0.0, True),
        ({"name": "classification"}, "accuracy", 0.6, 0.5, 0.0, True),
        ({"name": "classification"}, "accuracy", 0.5, 0.5, 0.0, False),
        ({"name": "classification"}, "accuracy", 0.55, 0.5, 0.1, False),
        ({"name": "classification"}, "loss", 0.4, 0.5, 0.0, True),
        ({"name": "token_classification"}, "loss", 0.6, 0.5, 0.0, False),
        ({"name": "classification", "kind": "regression"}, "mse", 0.45, 0.5, 0.1, False),
        ({"name": "causal_lm"}, "bits_per_byte", 0.4, 0.5, 0.0, True),
        ({"name": "causal_lm"}, "word_perplexity", 6.0, 5.0, 0.0, False),
        ({"name": "masked_lm"}, "perplexity", 4.0, 5.0, 0.0, True),
        ({"name": "text_generation", "target": "target"}, "bleu", 6.0, 5.0, 0.0, True),
        ({"name": "classification"}, "accuracy", float("nan"), None, 0.0, False),
    ],
)
def test_what_counts_as_better(head, metric, value, best, min_delta, better):
    made = plugin_module("trainer.heads", head["name"])
    data = DataSettings(source="jsonl", train="")
    metrics = made.make_head(made.Settings(**head), data, toy.TEMPLATE).available_metrics()
    lower = {each.name: each.lower_is_better for each in metrics}[metric]
    assert is_better(value, best, min_delta, lower=lower) is better


def checkpoints_of(folder, warnings, keep=2):
    return Checkpoints(
        folder, keep=keep, warn=warnings.append, variables={"weight": tf.Variable([1.0, 2.0])}
    )


def test_checkpoints_keep_the_newest_and_the_best_and_give_the_state_back(tmp_path):
    checkpoints = checkpoints_of(tmp_path, [])
    for step in (1, 2, 3, 4, 5):
        state = RunState(
            step=step,
            best_step=2 if step >= 2 else None,
            best_value=0.1 + 0.2,
            loss_sums=[1 / 3],
            timeline={"train_s": 1.5},
        )
        checkpoints.save(state)
        checkpoints.wait()
    assert checkpoints.complete() == [2, 4, 5]
    assert checkpoints.restore_latest() == state


def test_a_run_that_went_back_keeps_what_it_saves_next(tmp_path):
    warnings = []
    checkpoints = checkpoints_of(tmp_path, warnings, keep=1)
    for step in (7, 14):
        checkpoints.save(RunState(step=step, best_step=7))
        checkpoints.wait()
    (tmp_path / "step_00000014" / "weights.index").write_bytes(b"")
    assert (
        checkpoints.restore_latest().step == 7
        and "weights.index: 0 bytes instead of" in warnings[0]
    )
    checkpoints.save(RunState(step=9, best_step=7))
    checkpoints.wait()
    assert checkpoints.complete() == [7, 9] and checkpoints.restore_latest().step == 9


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "weights.index").unlink(), "weights.index: missing"),
        (
            lambda folder: (folder / "weights.data-00000-of-00001").open("ab").write(b"\0"),
            "weights.data-00000-of-00001: 9 bytes instead of 8",
        ),
        (
            lambda folder: (folder / "state.json").write_text("{"),
            "state.json: it has no checksum at its end: it was cut, or an older version wrote it",
        ),
        (
            lambda folder: (folder / "state.json").write_text('{"files": {}}'),
            "state.json: it has no checksum at its end",
        ),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, spoil, said):
    warnings = []
    checkpoints = checkpoints_of(tmp_path, warnings)
    checkpoints.save(RunState(step=1))
    checkpoints.wait()
    checkpoints.save(RunState(step=2))
    checkpoints.wait()
    spoil(checkpoints.path(2))
    assert checkpoints.restore_latest().step == 1 and said in warnings[0]


def test_results_are_summarised_a_line_a_split():
    results = Results(
        {
            "validation": {"accuracy": 0.5, "loss": 1.0},
            "test": {"accuracy": 0.25},
            "model": "x/model",
        }
    )
    assert (
        results.summary()
        == "validation: accuracy 0.5000  loss 1.0000\ntest: accuracy 0.2500\nmodel: x/model"
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory, toy_weights):
    """A folder with a finished run, plain, and what results.json has of it."""
    folder = tmp_path_factory.mktemp("plain")
    return folder, finished(folder, "plain", toy_weights, export="none")


def finished(tmp_path, name, toy_weights, export="savedmodel", **train):
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 96),
        data={"validation": 0.2},
        train={"steps": 30, "learning_rate": 2e-3, **train},
        export={"format": export, "check_examples": 4},
    )
    assert toy.run_main(config, tmp_path / name) == 0
    return json.loads((tmp_path / name / "results.json").read_text())


@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_half_precision_learns_and_exports(tmp_path, toy_weights, plain, precision):
    results = finished(tmp_path, "job", toy_weights, precision=precision, ema_decay=None)
    _, whole = plain
    assert results["validation"]["accuracy"] == pytest.approx(
        whole["validation"]["accuracy"], abs=0.11
    )
    assert results["validation"]["loss"] == pytest.approx(whole["validation"]["loss"], abs=0.05)
    assert (tmp_path / "job" / "model" / "saved_model.pb").exists()
    prefix = str(tmp_path / "job" / "checkpoints" / "step_00000030" / "weights")
    saved = {name for name, _ in tf.train.list_variables(prefix)}
    assert ("optimizer/loss_scale" in saved) == (precision == "mixed_float16")


def test_the_moving_average_is_evaluated_kept_and_exported(tmp_path, toy_weights, plain):
    results = finished(tmp_path, "job", toy_weights, ema_decay=0.95)
    job = tmp_path / "job"
    prefix = str(job / "checkpoints" / "step_00000030" / "weights")
    average, last = (
        tf.train.load_variable(prefix, f"{group}/head/output/kernel")
        for group in ("average", "model")
    )
    assert np.abs(average - last).max() > 1e-3
    in_training = [
        line for line in toy.read_jsonl(job / "metrics.jsonl") if line["split"] == "validation"
    ][-1]
    assert {name: in_training[name] for name in results["validation"]} == pytest.approx(
        results["validation"]
    )
    assert toy.run_main(None, job, "--mode=export", "--export.format=huggingface") == 0
    np.testing.assert_array_equal(
        load_file(job / "huggingface" / "model.safetensors")["classifier.weight"].T, average
    )
    folder, results_of_plain = plain
    assert results_of_plain["validation"]["loss"] != pytest.approx(
        results["validation"]["loss"], rel=1e-3
    )
    trained = [
        [line["loss"] for line in toy.read_jsonl(run / "metrics.jsonl") if line["split"] == "train"]
        for run in (job, folder / "plain")
    ]
    assert trained[0] == trained[1]  # to average changes nothing in the training


def test_results_say_how_much_of_the_device_was_used(trained):
    throughput = json.loads((trained / "results.json").read_text())["throughput"]
    assert 0 < throughput["model_flops_utilisation"] < 1 and throughput["measured_peak_gflops"] > 1


def test_a_run_says_which_shapes_it_compiles_beyond_the_plan(tmp_path, capsys, monkeypatch):
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights", layers=1, hidden=16),
        toy.write_sentences(tmp_path / "train.jsonl", 60, longest=8),
        train={"steps": 3, "global_batch_size": 4, "xla": "on"},
    )
    monkeypatch.setattr(step_layouts, "SHAPING_STEPS", 1)
    assert toy.run_main(config, tmp_path / "planned", "--mode=plan") == 0
    shapes = json.loads((tmp_path / "planned" / "plan.json").read_text())["train"]["common_shapes"]
    assert len(shapes) > 1
    for module in (step_layouts, compiled_shapes):
        monkeypatch.setattr(module, "PLANNED_STATIC_STEPS", 1)
    capsys.readouterr()
    assert toy.run_main(config, tmp_path / "beyond") == 0
    out = capsys.readouterr()
    said = " ".join((out.out + out.err).split())
    assert (
        said.count(
            "compiled a shape that the first 1 steps, which the plan lays out, do not have: "
        )
        == len(shapes) - 1
    )
    assert f"; {len(shapes)} shapes by now" in said


def test_a_job_dir_does_not_go_on_with_other_data(tmp_path, toy_weights, capsys):
    """Not even where only the names of the labels changed: the old weights would answer with the
    new names.
    """
    file = toy.write_sentences(tmp_path / "train.jsonl", 60)
    config = toy.write_config(tmp_path, toy_weights, file)
    assert toy.run_main(config, tmp_path / "job") == 0
    vocabulary = (tmp_path / "job" / "vocabulary.json").read_bytes()
    file.write_text(file.read_text().replace('"neg"', '"bad"'))
    assert toy.run_main(config, tmp_path / "job") == 2
    said = capsys.readouterr().err
    assert (
        "belongs to a run on other data: the files, their texts or their labels have changed"
        in said
        and "another --job_dir" in said
    )
    assert (tmp_path / "job" / "vocabulary.json").read_bytes() == vocabulary


def test_a_copy_beside_the_checkpoints_disturbs_nothing(tmp_path):
    checkpoints = checkpoints_of(tmp_path, [])
    checkpoints.save(RunState(step=3))
    checkpoints.wait()
    shutil.copytree(checkpoints.path(3), tmp_path / "step_00000003.bak")
    checkpoints.save(RunState(step=4))
    checkpoints.wait()
    assert (
        checkpoints.complete() == [3, 4]
        and checkpoints.restore_latest().step == 4
        and (tmp_path / "step_00000003.bak").exists()
    )


def test_a_step_saved_again_is_never_gone(tmp_path, monkeypatch):
    """The values are on disk already: only the state beside them is written, in one rename."""
    checkpoints = checkpoints_of(tmp_path, [], keep=1)
    checkpoints.save(RunState(step=3, settled=False))
    checkpoints.wait()
    monkeypatch.setattr(
        shutil, "rmtree", lambda *_, **__: pytest.fail("the only checkpoint was removed")
    )
    checkpoints.save(RunState(step=3, settled=True))
    checkpoints.wait()
    assert checkpoints.restore_latest().settled


def test_a_checkpoint_of_other_shapes_is_refused_whole(tmp_path):
    checkpoints_of(tmp_path, []).save(RunState(step=3))
    time.sleep(0.5)
    other = {"weight": tf.Variable([5.0, 5.0, 5.0])}
    with pytest.raises(JobDirError, match="weight has another shape than the model's"):
        Checkpoints(tmp_path, keep=1, warn=lambda line: None, variables=other).restore_latest()
    assert other["weight"].numpy().tolist() == [5, 5, 5]
