"""Every head on every family: PyTorch's logits from Hugging Face's task checkpoint, and the same
tensors written back (tests/golden/make_backbones.py).
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tests import toy
from tests.golden.cases import of_task
from trainer.backbones.huggingface import load_backbone, read_task_head, save_huggingface
from trainer.data.batch import Batch
from trainer.heads import classification, question_answering, token_classification
from trainer.run.model import Model
from trainer.settings.schema import DataSettings

GOLDEN = Path(__file__).parent.parent / "golden" / "backbones"
LABELS = [f"LABEL_{number}" for number in range(4)]
HEADS = {
    "classification": (
        classification,
        {"labels": LABELS, "train_counts": dict.fromkeys(LABELS, 1)},
        "text",
    ),
    "token_classification": (token_classification, {"labels": LABELS, "scheme": "none"}, "words"),
    "question_answering": (
        question_answering,
        {"labels": [], "unanswerable": False},
        ["question", "context"],
    ),
}
CASES = {
    "classification": of_task("ForSequenceClassification"),
    "token_classification": of_task("ForTokenClassification"),
    "question_answering": of_task("ForQuestionAnswering"),
}
PAIRS = [(name, case) for name, cases in CASES.items() for case in cases]


def model_of(name, folder):
    module, vocabulary, text = HEADS[name]
    head = module.make_head(
        module.Settings(),
        DataSettings(source="jsonl", train="", text=text, seq_len=128),
        toy.TEMPLATE,
    )
    encoder, report = (
        load_backbone(folder, pooler=False) if name != "classification" else load_backbone(folder)
    )
    graph = head.build(encoder, vocabulary, 1)
    return graph, encoder, Model(encoder, graph), report


@pytest.mark.parametrize(("name", "case"), PAIRS)
def test_logits_are_pytorchs(name, case):
    graph, _, model, report = model_of(name, GOLDEN / case)
    taken = graph.load_tensors(read_task_head(GOLDEN / case)).tensors
    assert report.new == [] and set(taken) == {
        tensor for tensor in report.unused if not tensor.startswith("pooler")
    }
    inputs = dict(np.load(GOLDEN / "inputs.npz"))
    logits = model.logits(Batch.one_a_row(inputs)).numpy()
    expected = np.load(GOLDEN / case / "outputs.npz")["logits"]
    real = inputs["padding_mask"].astype(bool) if expected.ndim == 3 else slice(None)
    np.testing.assert_allclose(logits[real], expected[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "case"), PAIRS)
def test_what_is_written_is_what_was_read(name, case, tmp_path):
    graph, encoder, _, _ = model_of(name, GOLDEN / case)
    graph.load_tensors(read_task_head(GOLDEN / case))
    tensors, updates = graph.save_tensors()
    save_huggingface(
        tmp_path / "saved", encoder, GOLDEN / case, head_tensors=tensors, config_updates=updates
    )
    written = read_task_head(tmp_path / "saved").tensors
    original = read_task_head(GOLDEN / case).tensors
    assert set(written) == {
        tensor for tensor in original if not tensor.startswith("pooler")
    } and all((written[key] == original[key]).all() for key in written)
    architectures = [
        json.loads((folder / "config.json").read_text())["architectures"]
        for folder in (tmp_path / "saved", GOLDEN / case)
    ]
    assert architectures[0] == architectures[1]


@pytest.mark.parametrize(
    ("case", "rate"),
    [
        ("bert_no_pooler", 0.1),
        ("distilbert_tokens", 0.1),
        ("electra_tokens", 0.1),
        ("bert_questions", 0.0),
        ("distilbert_questions", 0.1),
        ("electra_questions", 0.0),
        ("distilbert", 0.2),
        ("gpt2", 0.0),
        ("gpt2_tokens", 0.1),
        ("gpt2_questions", 0.0),
        ("albert", 0.1),
        ("roberta", 0.1),
    ],
)
def test_dropout_before_the_output_is_hugging_faces(case, rate):
    """DistilBERT's rate for texts is not that for tokens, and BERT's answers have none."""
    name = next(name for name, cases in CASES.items() if case in cases)
    graph = model_of(name, GOLDEN / case)[0]
    scores = graph.scores if name == "classification" else graph
    assert scores.dropout == rate


@pytest.mark.parametrize(("name", "case"), [pair for pair in PAIRS if pair[0] != "classification"])
def test_nothing_is_left_of_the_labels_of_another_task(name, case, tmp_path):
    """A checkpoint of three classes, such as one for entailment: Hugging Face sizes every task's
    layer by its labels.
    """
    graph, encoder, _, _ = model_of(name, GOLDEN / case)
    tensors, updates = graph.save_tensors()
    source = json.loads((GOLDEN / case / "config.json").read_text()) | {
        "id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"},
        "label2id": {"contradiction": 0, "neutral": 1, "entailment": 2},
        "problem_type": "single_label_classification",
    }
    save_huggingface(
        tmp_path / "saved", encoder, source, head_tensors=tensors, config_updates=updates
    )
    content = json.loads((tmp_path / "saved" / "config.json").read_text())
    width = len(next(tensor for key, tensor in tensors.items() if key.endswith("bias")))
    assert (
        len(content["id2label"]) == len(content["label2id"]) == width
        and "problem_type" not in content
    )
