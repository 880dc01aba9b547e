"""Exports: what serves is what was trained, or it is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from tests import toy
from tests.serve.test_warmup import fields, request
from trainer.backbones import huggingface
from trainer.data.batch import Batch
from trainer.errors import JobDirError
from trainer.heads.classification import Settings, make_head
from trainer.machine import allocator
from trainer.run.model import Model
from trainer.serve import proof, prove, saved_model
from trainer.serve.huggingface_folder import export_huggingface
from trainer.serve.proof import ExportRefusedError, Proof, compare, run_fresh
from trainer.serve.saved_model import export_saved_model
from trainer.serve.targets import version_folder
from trainer.settings.schema import DataSettings
from trainer.text import load_tokenizer

TEXTS = [
    "the great film",
    "awful",
    "",
    "今天天气很好！ it is a very long story",
    "the the the the the the the the the the the the",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1, hidden=16)


def model_of(weights, *, text="text", labels=("neg", "pos"), **settings):
    head = make_head(
        Settings(**settings),
        DataSettings(source="jsonl", train="", text=text, seq_len=16),
        load_tokenizer(weights),
    )
    encoder, _ = huggingface.load_backbone(weights)
    vocabulary = {"labels": list(labels), "train_counts": {}}
    return Model(encoder, head.build(encoder, vocabulary, 1)), head


def logits_of(model, head, samples):
    names = [item.name for item in head.reader.inputs]
    texts = [tf.constant([sample[name] for sample in samples]) for name in names]
    columns, _ = head.reader.encode(*texts)
    rows = []
    for index in range(len(samples)):
        lone = {name: values[index][None] for name, values in columns.items()}
        rows.append(model.logits(Batch.one_a_row(lone))[0])
    return np.stack(rows)


def proof_of(model, samples, logits):
    answers = {
        name: value.numpy()
        for name, value in model.graph.token_answers({"logits": tf.constant(logits)}).items()
    }
    return Proof(samples, answers, model.graph.ambiguous(answers, {}, {}, 1e-5))


def in_this_process(monkeypatch):
    """The proof's code without the fresh process: for what does not depend on it."""

    def prove_here(folder, proof, tolerance):
        served = tf.saved_model.load(str(folder)).signatures["serving_default"]
        answers = served(
            **{
                name: tf.constant([sample[name] for sample in proof.samples])
                for name in proof.samples[0]
            }
        )
        prove.check_ops(prove.ops_of(served.graph.as_graph_def()))
        outputs = {name: prove.plain(value.numpy().tolist()) for name, value in answers.items()}
        return compare(outputs, proof.answers, tolerance, proof.ambiguous)

    monkeypatch.setattr(saved_model, "prove_export", prove_here)


@pytest.fixture(scope="module")
def pair_export(folders, tmp_path_factory):
    """A model of pairs, exported with the real proof."""
    model, head = model_of(folders, text=["q", "a"], kind="multi_label", labels=("x", "y", "z"))
    samples = [
        {"text": text, "text_pair": other}
        for text, other in zip(TEXTS, reversed(TEXTS), strict=True)
    ]
    folder = tmp_path_factory.mktemp("export") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "run_fresh", run_fresh)
        line = export_saved_model(
            model,
            head,
            folder,
            proof_of(model, samples, logits_of(model, head, samples)),
            tolerance=1e-5,
        )
    return model, head, folder, samples, line


def test_a_fresh_process_answers_like_the_trained_model(pair_export):
    assert pair_export[-1].startswith(
        "5 validation texts answered alike by a fresh process without Keras (largest difference "
    )


def test_both_signatures_answer_alike_for_pairs(pair_export):
    model, head, folder, samples, _ = pair_export
    signatures = tf.saved_model.load(str(folder)).signatures
    assert set(signatures) == {"serving_default", "token_ids"}
    columns = [tf.constant([sample[name] for sample in samples]) for name in ("text", "text_pair")]
    texts = signatures["serving_default"](text=columns[0], text_pair=columns[1])
    tokens, _ = head.reader.encode(*columns)
    ids = signatures["token_ids"](
        token_ids=tokens["token_ids"].to_tensor(),
        segment_ids=tokens["segment_ids"].to_tensor(),
        padding_mask=tf.ones_like(tokens["token_ids"]).to_tensor(),
    )
    expected = 1 / (1 + np.exp(-logits_of(model, head, samples)))
    for answers in (texts, ids):
        np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
        given = [[name.decode() for name in row] for row in answers["label"].numpy()]
        assert given == [
            [name if p >= 0.5 else "" for name, p in zip("xyz", row, strict=True)]
            for row in expected
        ]


def test_the_order_and_company_of_requests_change_nothing(pair_export):
    _, _, folder, samples, _ = pair_export
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    together = serve(
        **{name: tf.constant([sample[name] for sample in samples]) for name in samples[0]}
    )["probabilities"]
    for row, sample in enumerate(samples):
        alone = serve(**{name: tf.constant([text]) for name, text in sample.items()})[
            "probabilities"
        ]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_warm_up_requests_and_labels_are_in_the_folder(pair_export):
    _, _, folder, samples, _ = pair_export
    assert json.loads((folder / "assets.extra" / "labels.json").read_text()) == ["x", "y", "z"]
    records = [
        record.numpy()
        for record in tf.data.TFRecordDataset(
            str(folder / "assets.extra" / "tf_serving_warmup_requests")
        )
    ]
    assert len(records) == len(samples)
    for record, sample in zip(records, samples, strict=True):
        (_, model_spec), *inputs = request(record)
        assert fields(model_spec) == [(3, b"serving_default")]
        read = {}
        for _, entry in inputs:
            (_, name), (_, tensor) = fields(entry)
            read[name.decode()] = tf.make_ndarray(TensorProto.FromString(tensor))[0].decode()
        assert read == sample


def test_an_export_that_predicts_otherwise_is_refused_and_the_old_model_stays(
    folders, tmp_path, monkeypatch
):
    in_this_process(monkeypatch)
    model, head = model_of(folders)
    samples = [{"text": text} for text in TEXTS]
    logits = logits_of(model, head, samples)
    export_saved_model(
        model, head, tmp_path / "model", proof_of(model, samples, logits), tolerance=1e-5
    )
    before = {
        file.relative_to(tmp_path): file.read_bytes()
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    tampered = logits.copy()
    tampered[3, 0] += 0.01
    with pytest.raises(
        ExportRefusedError, match=r"probabilities of example 3 differs by 2\.\d+e-03, over 1e-05"
    ):
        export_saved_model(
            model, head, tmp_path / "model", proof_of(model, samples, tampered), tolerance=1e-5
        )
    assert {
        file.relative_to(tmp_path): file.read_bytes()
        for file in tmp_path.rglob("*")
        if file.is_file()
    } == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_graph_that_calls_python_is_refused_by_the_fresh_process(tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "run_fresh", run_fresh)
    server = tf.Module()
    server.texts = tf.function(
        lambda text: {
            "probabilities": tf.py_function(lambda t: tf.zeros([1, 2]), [text], tf.float32)
        },
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(
        server, str(tmp_path / "model"), signatures={"serving_default": server.texts}
    )
    with pytest.raises(
        ExportRefusedError,
        match=r"could not serve .*(?s:.*)TensorFlow Serving does not have these ops: EagerPyFunc",
    ):
        proof.prove_export(tmp_path / "model", Proof([{"text": "a"}], {}, {}), 1e-5)


@pytest.mark.parametrize(
    ("ops", "refused"),
    [
        ({"MatMul", "TFText>FastWordpieceTokenizeWithOffsets"}, None),
        ({"PyFunc", "MatMul"}, "PyFunc"),
        ({"TFText>NormalizeUTF8"}, "TFText>NormalizeUTF8"),
        ({"XlaLaunch"}, "XlaLaunch"),
    ],
)
def test_ops_that_tensorflow_serving_lacks_are_refused(ops, refused):
    if refused is None:
        prove.check_ops(ops)
    else:
        with pytest.raises(
            ValueError, match=f"TensorFlow Serving does not have these ops: {refused}$"
        ):
            prove.check_ops(ops)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (tf.errors.OutOfRangeError(None, None, "File too large"), "File too large"),
    ],
)
def test_a_disk_that_fills_up_leaves_the_old_model_and_says_what_to_do(
    folders, tmp_path, monkeypatch, error, said
):
    model, head = model_of(folders)
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(
        tf.saved_model, "save", lambda server, folder, **_: (_ for _ in ()).throw(error)
    )
    with pytest.raises(
        JobDirError,
        match=(
            f"model: the SavedModel could not be written: .*{said}. Free some space or give"
            " --export.directory."
        ),
    ):
        export_saved_model(model, head, tmp_path / "model", Proof([], {}, {}), tolerance=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_fresh_process_computes_on_the_cpu():
    """This one holds the memory of the GPUs, and a TPU has room for one process."""
    environment = proof._cpu_environment(
        {
            "PATH": "/bin",
            "CUDA_VISIBLE_DEVICES": "0",
            "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
            "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": "/lib/libtpu.so",
        }
    )
    expected = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    assert environment == allocator.environment(expected)


def test_the_proof_cannot_import_keras_or_the_trainer():
    program = (
        "import runpy, sys;"
        f" sys.modules.update(dict.fromkeys(runpy.run_path({prove.__file__!r})['ABSENT'])); import"
        " trainer"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=toy.ROOT, check=False
    )
    assert done.returncode == 1 and "import of trainer halted" in done.stderr


EXPECTED = {
    "label": np.array([b"a", b"b"], object),
    "probabilities": np.array([[0.7, 0.3], [0.4999, 0.5001]], np.float32),
}

AMBIGUOUS = {"label": np.array([False, True])}


@pytest.mark.parametrize(
    ("served", "message"),
    [
        ({"label": ["a", "b"], "probabilities": [[0.7, 0.3], [0.4999, 0.5001]]}, None),
        # a tie: either may win
        ({"label": ["a", "a"], "probabilities": [[0.7, 0.3], [0.50005, 0.49995]]}, None),
        (
            {"label": ["b", "b"], "probabilities": [[0.7, 0.3], [0.4999, 0.5001]]},
            "label of example 0 differs: a trained, b served",
        ),
        (
            {"label": ["a", "b"], "probabilities": [[0.69, 0.31], [0.4999, 0.5001]]},
            "probabilities of example 0 differs by 1.00e-02, over 1e-03",
        ),
        (
            {"label": ["a", "b"], "probabilities": [[float("nan"), 0.3], [0.4999, 0.5001]]},
            "probabilities of example 0 differs by nan",
        ),
    ],
)
def test_answers_are_compared_number_by_number_and_label_by_label(served, message):
    if message is None:
        assert compare(served, EXPECTED, 1e-3, AMBIGUOUS) <= 1e-3
        return
    with pytest.raises(ExportRefusedError) as caught:
        compare(served, EXPECTED, 1e-3, AMBIGUOUS)
    assert message in str(caught.value)


def test_a_hugging_face_folder_reads_back_bit_for_bit(folders, tmp_path):
    model, head = model_of(folders, labels=("neg", "pos"))
    export_huggingface(model, head.reader.tokenizer, folders, folders, tmp_path / "hf")
    encoder, report = huggingface.load_backbone(tmp_path / "hf")
    task_head = huggingface.read_task_head(tmp_path / "hf")
    assert report.new == []
    for path, weight in encoder.weights_by_path().items():
        np.testing.assert_array_equal(
            weight.numpy(), model.backbone.weights_by_path()[path].numpy(), err_msg=path
        )
    assert (
        task_head.id2label == {0: "neg", 1: "pos"}
        and task_head.problem_type == "single_label_classification"
    )
    again, head_again = model_of(tmp_path / "hf")
    assert again.graph.load_tensors(task_head).output
    samples = [{"text": text} for text in TEXTS]
    np.testing.assert_array_equal(
        logits_of(again, head_again, samples), logits_of(model, head, samples)
    )
    assert (tmp_path / "hf" / "vocab.txt").read_bytes() == (folders / "vocab.txt").read_bytes()


def test_a_label_is_ambiguous_where_two_probabilities_tie_or_one_is_at_the_threshold(folders):
    single, _ = model_of(folders, labels=("neg", "pos"))
    np.testing.assert_array_equal(
        single.graph.ambiguous(EXPECTED, {}, {}, 1e-3)["label"], AMBIGUOUS["label"]
    )
    several, _ = model_of(folders, kind="multi_label", labels=("x", "y"))
    probabilities = np.array([[0.5004, 0.9], [0.6, 0.4]], np.float32)
    np.testing.assert_array_equal(
        several.graph.ambiguous({"probabilities": probabilities}, {}, {}, 1e-3)["label"],
        [True, False],
    )
    number, _ = model_of(folders, kind="regression")
    assert number.graph.ambiguous({"value": np.zeros(3, np.float32)}, {}, {}, 1e-3) == {}


def test_versions_are_numbered_as_tensorflow_serving_watches_for(folders, tmp_path):
    config = toy.write_config(
        tmp_path, folders, toy.write_sentences(tmp_path / "train.jsonl", 40), train={"steps": 1}
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    for _ in range(2):
        assert (
            toy.run_main(
                None,
                tmp_path / "job",
                "--mode=export",
                "--export.format=savedmodel",
                f"--export.directory={tmp_path / 'serving'}",
                "--export.version=next",
                "--export.check_examples=2",
            )
            == 0
        )
    assert (
        version_folder(tmp_path / "serving", 7).name == "7"
        and version_folder(tmp_path / "serving", None) == tmp_path / "serving"
    )
    assert {path.name for path in (tmp_path / "serving").iterdir()} == {
        "1",
        "2",
        "batching_parameters.txt",
    }
    for version in ("1", "2"):
        assert (
            (tmp_path / "serving" / version / "assets.extra" / "tf_serving_warmup_requests")
            .stat()
            .st_size
        )
        assert list(tf.saved_model.load(str(tmp_path / "serving" / version)).signatures) == [
            "serving_default",
            "token_ids",
        ]
