"""What users get wrong: exit code 2 and one message with what, where, the value met, what is
allowed and what to do.
"""

import json
import os
import pathlib
import resource
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import toy

pytestmark = pytest.mark.heavy


@pytest.fixture
def base(tmp_path):
    """Data and weights of its own, to be spoilt."""
    toy.write_checkpoint(tmp_path / "weights", layers=1, hidden=16)
    toy.write_sentences(tmp_path / "train.jsonl", 40)
    return tmp_path


def refused(capsys, config: pathlib.Path, *arguments: str, job: pathlib.Path | None = None) -> str:
    """The one message on stderr; nothing was trained."""
    job = job or config.parent / "job"
    assert toy.run_main(config, job, *arguments) == 2
    captured = capsys.readouterr()
    message = captured.err[captured.err.index("error: ") :]
    assert "Traceback" not in captured.err and captured.out == ""
    assert len(list(job.glob("checkpoints/*/weights*"))) == 0 if job.is_dir() else True
    return message


def config_of(base, **sections):
    return toy.write_config(base, base / "weights", base / "train.jsonl", **sections)


def data_of(base, name, content, **data):
    """A config over a data file with that content."""
    file = base / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return toy.write_config(base, base / "weights", file, data={"source": file.suffix[1:], **data})


def assert_says(message, *parts):
    for part in parts:
        assert part in message, message


def test_unknown_key_wrong_type_and_out_of_range_come_together(base, capsys):
    config = config_of(base, train={"learning_rte": 1, "steps": "many", "beta_1": 1.5})
    message = refused(capsys, config, "--train.seed=-1")
    assert_says(
        message,
        "4 problems in the configuration:",
        f"train.learning_rte: unknown key ({config}:",
        "Did you mean train.learning_rate?",
        "train.steps: expected integer >= 1 or null. Received 'many' (",
        "train.beta_1: expected number >= 0, < 1. Received 1.5 (",
        "train.seed: expected integer >= 0, < 2.14748e+09. Received -1 (--train.seed).",
    )
    assert not (base / "job").exists()


def test_an_unknown_flag(base, capsys):
    assert_says(
        refused(capsys, config_of(base), "--train.lerning_rate=1"),
        "unknown flag --train.lerning_rate. Did you mean --train.learning_rate?",
    )


def test_no_config_at_all(capsys):
    assert toy.run_main(None) == 2
    assert_says(
        capsys.readouterr().err,
        "--config: missing. Expected a YAML file; configs/ has examples, --help lists every"
        " setting.",
    )


def test_a_mode_that_needs_a_trained_job(base, capsys):
    assert_says(
        refused(capsys, config_of(base), "--mode=evaluate"),
        "job: no config.yaml there. Expected the job_dir of a training run.",
    )
    assert toy.run_main(None, None, "--mode=predict") == 2
    assert_says(
        capsys.readouterr().err,
        "--job_dir: missing. --mode=predict works on the job_dir of a training run.",
    )
    assert toy.run_main(None, base / "nowhere", "--mode=export") == 2
    assert_says(capsys.readouterr().err, "nowhere: no config.yaml there.")
    assert toy.run_main(config_of(base), base / "once") == 0
    export = (None, base / "once", "--mode=export", "--export.format=huggingface")
    shutil.rmtree(base / "once" / "checkpoints")
    assert toy.run_main(*export) == 2
    assert_says(
        capsys.readouterr().err,
        f"no intact checkpoint. Train first: --mode=train --job_dir={base / 'once'}.",
    )
    (base / "once" / "vocabulary.json").unlink()
    assert toy.run_main(*export) == 2
    assert_says(
        capsys.readouterr().err,
        f"{base / 'once' / 'vocabulary.json'} is missing. Put back a copy of it, or let the"
        " training, which goes on",
        f"--mode=train --config={base / 'once' / 'config.yaml'} --job_dir={base / 'once'}",
    )


def test_a_metric_that_the_head_does_not_have(base, capsys):
    message = refused(
        capsys, config_of(base, data={"validation": 0.2}, train={"best_metric": "acuracy"})
    )
    assert_says(
        message,
        "train.best_metric: expected one of accuracy, loss, f1_macro",
        "Received 'acuracy'.",
    )


def test_a_missing_file(base, capsys):
    message = refused(capsys, config_of(base, data={"train": str(base / "trian.jsonl")}))
    assert_says(
        message,
        f"data.train: there is no file or folder '{base / 'trian.jsonl'}'",
        f"Did you mean {base / 'train.jsonl'}?",
    )


def test_a_glob_without_a_match(base, capsys):
    message = refused(capsys, config_of(base, data={"train": str(base / "*.json")}))
    assert_says(message, f"data.train: no file matches '{base / '*.json'}'", "train.jsonl")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_split(base, capsys, split):
    (base / "empty.jsonl").write_text("\n\n")
    message = refused(capsys, config_of(base, data={split: str(base / "empty.jsonl")}))
    assert_says(message, f"data.{split} = {base / 'empty.jsonl'}: no examples.", "Check the path")


def test_a_fraction_that_holds_nothing_out(base, capsys):
    assert_says(
        refused(capsys, config_of(base, data={"validation": 1e-6})),
        "data.validation = 1e-06: no examples: of the 40 of data.train none fell into this"
        " fraction. Hold out a larger one, or name a file.",
    )


def test_one_class_only(base, capsys):
    toy.write_sentences(base / "train.jsonl", 10, labels=("pos",))
    assert_says(
        refused(capsys, config_of(base)),
        "data.train: every one of the 10 examples has the label 'pos'",
        "train.jsonl:1",
        "Is --data.label the right field?",
    )


@pytest.mark.parametrize("key", ["text", "label"])
def test_an_unknown_field_lists_those_there_are(base, capsys, key):
    message = refused(capsys, config_of(base, data={key: "sentence"}))
    assert_says(
        message,
        f"unknown field 'sentence' at {base / 'train.jsonl'}:1; fields there are: 'id', 'text',"
        " 'label'",
        f"Correct data.{key}.",
    )


def test_a_row_with_too_few_columns(base, capsys):
    config = data_of(base, "rows.csv", "text,label\na film,pos\nthe book\n")
    assert_says(
        refused(capsys, config),
        f"{base / 'rows.csv'}:3: found 1 columns, expected 2. The row starts: 'the book'.",
    )


def test_invalid_utf8(base, capsys):
    config = data_of(base, "rows.csv", b"text,label\nfilm,pos\ncaf\xe9,neg\n")
    assert_says(
        refused(capsys, config),
        f"{base / 'rows.csv'}:3: not UTF-8: byte 0xe9",
        "iconv -f WINDOWS-1252 -t UTF-8",
    )


def test_a_line_that_is_no_json(base, capsys):
    config = data_of(base, "rows.jsonl", '{"text": "a", "label": "b"}\n{"text": "a", "label"\n')
    assert_says(refused(capsys, config), f"{base / 'rows.jsonl'}:2: not JSON")


def test_an_empty_text_is_kept_and_counted(base, capsys):
    rows = toy.sentences(12)
    rows[4]["text"] = ""
    toy.write_jsonl(base / "train.jsonl", rows)
    assert toy.run_main(config_of(base, train={"steps": 1}), base / "job", "--mode=plan") == 0
    plan = json.loads((base / "job" / "plan.json").read_text())
    assert plan["splits"]["train"]["examples"] == 12
    assert plan["ledger"]["train"]["empty_texts"] == {
        "count": 1,
        "first": f"{base / 'train.jsonl'}:5",
    }
    assert "1 texts without a character (in train; first: " in capsys.readouterr().err


def test_a_label_that_is_not_in_the_list(base, capsys):
    config = config_of(base, head={"labels": ["pos", "negative"]})
    message = refused(capsys, config)
    assert_says(
        message,
        f"{base / 'train.jsonl'}:1: label 'neg' of train is not among the labels of head.labels:"
        " pos, negative.",
        "--head.labels",
    )


def test_a_label_that_only_a_later_split_has(base, capsys):
    toy.write_sentences(base / "dev.jsonl", 6, labels=("neg", "pos", "neutral"))
    message = refused(
        capsys,
        config_of(base, data={"validation": str(base / "dev.jsonl"), "unseen_labels": "error"}),
    )
    assert_says(
        message,
        f"{base / 'dev.jsonl'}:3: label 'neutral' of validation is not among the labels of train:"
        " neg, pos.",
    )


@pytest.mark.parametrize(
    ("name", "content", "kind", "expected"),
    [
        (
            "rows.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n',
            "single_label",
            "rows.jsonl:2: field 'label' is nan",
        ),
        (
            "rows.csv",
            "text,label\na,1.5\nb,inf\n",
            "regression",
            "rows.csv:3: field 'label' is inf. Expected a finite number.",
        ),
        (
            "rows.csv",
            "text,label\na,\nb,\n",
            "single_label",
            "data.train: none of its 2 examples has a gold label (first: ",
        ),
        (
            "rows.jsonl",
            '{"text": "a", "label": ["x"]}\n{"text": "b", "label": [["y"]]}\n',
            "multi_label",
            "rows.jsonl:2: field 'label' should be a label. Received ['y'] (list).",
        ),
        (
            "rows.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b", "label": "many"}\n',
            "regression",
            "rows.jsonl:2: field 'label' should be a number",
        ),
    ],
)
def test_a_label_that_is_not_a_number_or_missing(base, capsys, name, content, kind, expected):
    config = data_of(base, name, content)
    assert_says(refused(capsys, config, f"--head.kind={kind}"), expected)


def test_examples_without_a_gold_label_are_refused_where_one_wants_it(base, capsys):
    toy.write_jsonl(base / "train.jsonl", [*toy.sentences(8), {"text": "the film", "label": None}])
    assert_says(
        refused(capsys, config_of(base, data={"unlabelled": "error"})),
        "train.jsonl:9: no gold label: field 'label' is empty, and data.unlabelled is error. Give"
        " it a label, or leave such examples out",
    )


def test_a_test_set_with_hidden_labels(base, capsys):
    toy.write_jsonl(base / "test.jsonl", [{**row, "label": -1} for row in toy.sentences(8)])
    assert_says(
        refused(capsys, config_of(base, data={"test": str(base / "test.jsonl")})),
        f"data.test: none of its 8 examples has a gold label (first: {base / 'test.jsonl'}:1): it"
        " is empty, null, or a mark such as -1 that says so. Remove data.test: --mode=predict"
        " answers such a file",
    )


@pytest.mark.parametrize(
    ("head", "labels", "metric", "reason"),
    [
        ({}, ["pos"] * 6, "auc_roc", "all examples have the same label there"),
        ({"kind": "regression"}, [2, 2, 2], "pearson", "all examples have the number 2"),
        (
            {"kind": "regression"},
            [2, 2, 2],
            None,
            (
                "all examples have the number 2 there. Set --train.best_metric to one of loss, mse,"
                " or give another data"
            ),
        ),
    ],
)
def test_a_metric_that_validation_cannot_give_is_told_before_training(
    base, capsys, head, labels, metric, reason
):
    toy.write_jsonl(
        base / "dev.jsonl",
        [{"text": f"the film {number}", "label": label} for number, label in enumerate(labels)],
    )
    if head:
        toy.write_jsonl(
            base / "train.jsonl",
            [{"text": row["text"], "label": len(row["text"])} for row in toy.sentences(40)],
        )
    train = {"best_metric": metric} if metric else {"early_stopping_patience": 2}
    message = refused(
        capsys,
        config_of(base, head=head, data={"validation": str(base / "dev.jsonl")}, train=train),
    )
    assert_says(message, "picks the checkpoint, and data.validation cannot give it: ", reason)


def test_rows_longer_than_the_backbones_positions(base, capsys):
    assert_says(
        refused(capsys, config_of(base), "--data.seq_len=65"),
        f"data.seq_len: expected at most 64, the positions of {base / 'weights'}. Received 65.",
    )


def test_more_frozen_layers_than_there_are(base, capsys):
    assert_says(
        refused(capsys, config_of(base), "--backbone.freeze_layers=3"),
        "backbone.freeze_layers: expected at most 1",
        "Received 3.",
    )


def test_a_weights_folder_that_is_missing_or_without_config(base, capsys):
    assert_says(
        refused(capsys, config_of(base, backbone={"weights": str(base / "wieghts")})),
        "backbone.weights: there is no folder",
        f"Did you mean {base / 'weights'}?",
    )
    (base / "weights" / "config.json").unlink()
    assert_says(
        refused(capsys, config_of(base)),
        f"{base / 'weights'} has no config.json",
        "found model.safetensors, tokenizer_config.json, vocab.txt",
        "correct backbone.weights",
    )


def test_a_checkpoint_of_another_architecture(base, capsys):
    file = base / "weights" / "config.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps({**before, "model_type": "t5"}))
    assert_says(
        refused(capsys, config_of(base)),
        "model_type is 't5', which is not implemented: expected one of albert, bert, distilbert",
    )
    file.write_text(json.dumps({**before, "hidden_size": 8, "num_hidden_layers": 2}))
    assert_says(
        refused(capsys, config_of(base)),
        "the tensors do not fit config.json (bert, 2 layers, hidden size 8)",
        "missing (16): encoder.layer.1.",
        "hidden_size is 8 in config.json, the tensors have 16",
        "num_hidden_layers is 2 in config.json, the tensors have 1",
        "shape (22): embeddings.word_embeddings.weight expected (64, 8) found (64, 16)",
        " and 16 more",
    )


def test_truncated_weights(base, capsys):
    file = base / "weights" / "model.safetensors"
    whole = file.stat().st_size
    os.truncate(file, whole - 1000)
    assert_says(
        refused(capsys, config_of(base)),
        f"{file} is damaged (",
        f"it has {whole - 1000:,} bytes, its header announces {whole:,}; download the checkpoint"
        " again",
    )


def test_pickled_weights_are_not_read(base, capsys):
    os.rename(base / "weights" / "model.safetensors", base / "weights" / "pytorch_model.bin")
    assert_says(
        refused(capsys, config_of(base)),
        "pytorch_model.bin but no model.safetensors: only safetensors are read, as a pickled file"
        " can run code.",
    )


def test_a_tokenizer_larger_than_the_embeddings(base, capsys):
    with (base / "weights" / "vocab.txt").open("a") as file:
        file.write("surplus\n")
    count = len(toy.VOCABULARY)
    assert_says(
        refused(capsys, config_of(base)),
        f"has {count + 1} tokens",
        f"embeds {count}, so there is none for surplus. Give the tokenizer that belongs to the"
        " weights, or ",
    )


def test_a_job_dir_of_another_config(base, capsys):
    job, config = base / "job", config_of(base)
    job.mkdir()
    from trainer.settings.resolve import resolve

    (job / "config.yaml").write_text(resolve(config).to_yaml())
    before = (job / "config.yaml").read_text()
    (job / "checkpoints" / "step_00000004").mkdir(parents=True)
    (job / "checkpoints" / "step_00000004" / "state.json").write_text("{}")
    message = refused(
        capsys,
        config,
        "--train.learning_rate=0.1",
        "--train.keep_checkpoints=1",
        "--data.seq_len=16",
    )
    assert_says(
        message,
        f"--job_dir={job} belongs to a run with another config:\n  data.seq_len: 32 there, 16"
        " here\n  train.learning_rate: 0.003 there, 0.1 here\n",
        f"To go on with that run: --config={job / 'config.yaml'}. To start this one: another"
        " --job_dir, or remove the folder.",
    )
    assert "keep_checkpoints" not in message and (job / "config.yaml").read_text() == before


def test_a_job_dir_in_which_nothing_was_trained_is_free_for_another_config(base):
    job = base / "wrong_path"
    assert (
        toy.run_main(config_of(base, data={"train": str(base / "nowhere")}), job) == 2
        and (job / "config.yaml").exists()
    )
    assert toy.run_main(config_of(base, train={"steps": 1}), job) == 0


def test_a_job_dir_that_cannot_be_written(base, capsys):
    message = refused(capsys, config_of(base), job=base / "train.jsonl" / "job")
    assert_says(
        message,
        f"cannot write '{base / 'train.jsonl' / 'job'}': Not a directory. A part of the path is a"
        " file: give another folder.",
    )


def test_a_cache_that_cannot_be_written(base, capsys):
    message = refused(capsys, config_of(base, data={"cache_dir": str(base / "train.jsonl")}))
    assert_says(
        message,
        f"data.cache_dir: {base / 'train.jsonl'} cannot be written: ",
        "Give another --data.cache_dir.",
    )


def test_a_full_disk_leaves_no_half_written_checkpoint(base, capsys):
    config = config_of(base, train={"steps": 2})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # room for the data, not for the checkpoint
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        assert toy.run_main(config, base / "job") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert_says(
        error,
        f"error: {base / 'job' / 'checkpoints' / 'step_00000002'}: the checkpoint could not be"
        " written: ",
        "Free some space or give another --job_dir; the last complete checkpoint is none.",
    )
    assert "Traceback" not in error
    assert os.listdir(base / "job" / "checkpoints") == []
    assert {name for name in os.listdir(base / "job") if name.startswith(".")} == {
        ".data",
        ".checksums.json",
        ".lock",
        ".podtune",
    }  # and nothing that was on its way


def test_a_loss_that_is_no_number_stops_the_run(base, capsys):
    rows = [{"text": row["text"], "label": 1.0} for row in toy.sentences(32)]
    toy.write_jsonl(base / "train.jsonl", rows)
    config = config_of(
        base,
        head={"kind": "regression"},
        train={
            "steps": 60,
            "optimizer": "sgd",
            "learning_rate": 10.0,
            "schedule": "constant",
            "clip_norm": None,
            "checkpoint_every_steps": 1,
        },
    )
    assert toy.run_main(config, base / "job") == 2
    error = capsys.readouterr().err
    last = max(path.name for path in (base / "job" / "checkpoints").iterdir())
    step = int(last.removeprefix("step_")) + 1
    assert_says(
        error,
        f"error: step {step}: the loss is ",
        f"The last checkpoint is {base / 'job' / 'checkpoints' / last}. ",
        "Lower --train.learning_rate (now 10), raise --train.warmup_fraction or set"
        " --train.clip_norm, in another --job_dir.",
    )
    assert "Traceback" not in error
    assert all(np.isfinite(line["loss"]) for line in toy.read_jsonl(base / "job" / "metrics.jsonl"))


def test_weights_that_are_no_numbers_are_met_at_the_first_step(base, capsys):
    file = base / "weights" / "model.safetensors"
    tensors = load_file(file)
    tensors["pooler.dense.weight"][0, 0] = np.nan
    save_file(tensors, file)
    assert_says(
        refused(capsys, config_of(base)), "step 1: the loss is nan", "The last checkpoint is none."
    )
