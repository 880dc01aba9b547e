"""--mode=predict, and the SavedModel of the same run."""

import io
import json
import types

import numpy as np
import pytest
import tensorflow as tf

from tests import toy

LINES = [
    {"id": 7, "text": "the great film", "nested": {"a": [1]}},
    {"text": "an awful book " * 9, "标签": "坏"},
    {"text": "今天天气很好"},
    {"text": ""},
    {"text": "we saw the great red house"},
    {"text": "awful", "label": "pos"},
]


@pytest.fixture(scope="module")
def answered(trained, tmp_path_factory):
    """What predict wrote for LINES."""
    folder = tmp_path_factory.mktemp("predict")
    assert (
        toy.run_main(
            None,
            trained,
            "--mode=predict",
            f"--input={toy.write_jsonl(folder / 'in.jsonl', LINES)}",
            f"--output={folder / 'out.jsonl'}",
        )
        == 0
    )
    return folder / "out.jsonl"


def test_answers_keep_the_order_and_the_original_fields(answered):
    answers = toy.read_jsonl(answered)
    assert len(answers) == len(LINES)
    for line, answer in zip(LINES, answers, strict=True):
        name = "predicted_label" if "label" in line else "label"  # a line keeps its own
        assert {key: answer[key] for key in line} == line and set(answer) == {
            *line,
            name,
            "probabilities",
        }
        assert set(answer["probabilities"]) == {"neg", "pos"} and sum(
            answer["probabilities"].values()
        ) == pytest.approx(1, abs=1e-5)
        assert answer[name] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert [answers[row].get("predicted_label", answers[row]["label"]) for row in (0, 1, 4, 5)] == [
        "pos",
        "neg",
        "pos",
        "neg",
    ]
    # readable, not escaped
    assert "今天天气很好" in answered.read_text(encoding="utf-8") and "标签" in answered.read_text(
        encoding="utf-8"
    )


def test_the_saved_model_answers_like_predict(trained, answered):
    serve = tf.saved_model.load(str(trained / "model")).signatures["serving_default"]
    outputs = serve(text=tf.constant([line["text"] for line in LINES]))
    for row, answer in enumerate(toy.read_jsonl(answered)):
        assert outputs["label"].numpy()[row].decode() == answer.get(
            "predicted_label", answer["label"]
        )
        np.testing.assert_allclose(
            outputs["probabilities"][row],
            [answer["probabilities"][name] for name in ("neg", "pos")],
            atol=1e-5,
        )


def predict(trained, tmp_path, content, *arguments):
    (tmp_path / "in.jsonl").write_bytes(content)
    return toy.run_main(
        None,
        trained,
        "--mode=predict",
        f"--input={tmp_path / 'in.jsonl'}",
        f"--output={tmp_path / 'out.jsonl'}",
        *arguments,
    )


GOOD = b'{"text": "fine"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b"\n{oops\n", "in.jsonl:3: not JSON"),
        (GOOD + b'["a"]\n', "in.jsonl:2: expected a JSON object, found a list: '[\"a\"]'."),
        (GOOD + b'{"txet": "a"}\n', "unknown field 'txet'"),
        (GOOD + b'{"text": 5}\n', "in.jsonl:2: field 'text' should be text. Received 5 (int)."),
        (GOOD * 9 + b'{"text": "caf\xe9"}\n', "in.jsonl:10: not UTF-8"),
        (
            GOOD + b'{"text": "half \\ud83d"}\n',
            "in.jsonl:2: field 'text' holds half of a surrogate pair",
        ),
    ],
    ids=["json", "object", "field", "type", "utf8", "surrogate"],
)
def test_a_bad_line_is_answered_in_its_place_and_named(
    trained, tmp_path, capsys, monkeypatch, content, message
):
    skip_the_model(monkeypatch)
    if message.startswith("unknown field"):
        message = (
            "unknown field 'text' at "
            + str(tmp_path / "in.jsonl")
            + ":2; fields there are: 'txet'; did you mean 'txet'?"
        )
    assert predict(trained, tmp_path, content + GOOD) == 2
    error = capsys.readouterr().err
    number = content.count(GOOD) + 2
    assert (
        f'error: 1 of {number} has no answer, but an "error" in its place. It is: ' in error
        and message in error
        and "Traceback" not in error
    )
    answers = toy.read_jsonl(tmp_path / "out.jsonl")
    assert len(answers) == number and message in answers[-2]["error"] and "label" not in answers[-2]
    assert all(
        answer["label"] == "pos" and "error" not in answer for answer in answers[:-2] + answers[-1:]
    )


def test_several_bad_lines_are_counted(trained, tmp_path, capsys, monkeypatch):
    skip_the_model(monkeypatch)
    assert (
        predict(trained, tmp_path, b'{"id": 7, "error": "mine"}\n' + GOOD * 70 + b"{oops\n" + GOOD)
        == 2
    )
    assert (
        'error: 2 of 73 have no answer, but an "error" in its place. The first: unknown field'
        " 'text' at" in capsys.readouterr().err
    )
    answers = toy.read_jsonl(tmp_path / "out.jsonl")
    assert [number for number, answer in enumerate(answers) if "label" not in answer] == [0, 71]
    assert (
        answers[0]["id"] == 7
        and answers[0]["error"] == "mine"
        and answers[0]["predicted_error"].startswith("unknown field")
    )


def skip_the_model(monkeypatch):
    """Only the reading is tried: no model is built, every answer is the same."""
    graph = types.SimpleNamespace(
        decode=lambda outputs, row, example: {"label": outputs["label"][row].decode()}
    )
    kept = types.SimpleNamespace(model=types.SimpleNamespace(graph=graph))
    monkeypatch.setattr("trainer.modes.predict.load_kept", lambda *_: kept)
    server = types.SimpleNamespace(texts=lambda *_: {"label": tf.constant(["pos"] * 99)})
    monkeypatch.setattr("trainer.serve.answerers.make_server", lambda model, head: server)


def test_an_empty_input_gives_an_empty_output(trained, tmp_path, monkeypatch):
    skip_the_model(monkeypatch)
    assert predict(trained, tmp_path, b"\n \n") == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_standard_input_is_answered_on_standard_output(trained, monkeypatch, capsys):
    skip_the_model(monkeypatch)
    # more than one batch
    lines = "\ufeff" + "".join(
        json.dumps({"text": f"第{i}"}, ensure_ascii=False) + "\n" for i in range(70)
    )
    monkeypatch.setattr("sys.stdin", stdin(lines.encode()))
    assert toy.run_main(None, trained, "--mode=predict", "--input=-") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == [f"第{i}" for i in range(70)] and answers[0][
        "label"
    ] == "pos"


def test_a_bad_line_of_standard_input_is_named(trained, monkeypatch, capsys):
    skip_the_model(monkeypatch)
    monkeypatch.setattr("sys.stdin", stdin(b'{"text"}\n'))
    assert toy.run_main(None, trained, "--mode=predict", "--input=-") == 2
    captured = capsys.readouterr()
    assert "It is: standard input:1: not JSON" in captured.err and json.loads(captured.out)[
        "error"
    ].startswith("standard input:1: not JSON")


def test_plain_lines_are_texts(trained, tmp_path, monkeypatch, capsys):
    skip_the_model(monkeypatch)
    monkeypatch.setattr("sys.stdin", stdin(b"a great film\n\n  5 stars\r\n"))
    assert toy.run_main(None, trained, "--mode=predict", "--input=-") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == [
        "a great film",
        "  5 stars",
    ]
    (tmp_path / "in.txt").write_text('"a film"\n[1] today\n', encoding="utf-8")
    assert (
        toy.run_main(
            None,
            trained,
            "--mode=predict",
            f"--input={tmp_path}/in.txt",
            f"--output={tmp_path}/out.jsonl",
        )
        == 0
    )
    assert [
        (answer["text"], answer["label"]) for answer in toy.read_jsonl(tmp_path / "out.jsonl")
    ] == [('"a film"', "pos"), ("[1] today", "pos")]


def test_on_a_terminal_each_line_is_answered_as_it_comes(trained, monkeypatch, capsys):
    """And a mistake does not end it."""
    skip_the_model(monkeypatch)
    written = []

    def lines():
        for line in (b"a film\n", b"{oops\n", b'{"text": "a book"}\n'):
            yield line
            written.append(capsys.readouterr().out)

    monkeypatch.setattr("sys.stdin", stdin(lines()))
    assert toy.run_main(None, trained, "--mode=predict", "--input=-") == 2
    assert [json.loads(text).get("text") for text in written] == ["a film", None, "a book"]
    assert "1 of 3 has no answer" in capsys.readouterr().err


class Typed(io.RawIOBase):
    """Lines that come one by one."""

    def __init__(self, lines):
        self.lines = lines

    def read(self, _size=-1):
        return next(self.lines, b"")

    def isatty(self):
        return True


def stdin(content):
    return types.SimpleNamespace(
        buffer=io.BytesIO(content) if isinstance(content, bytes) else Typed(content)
    )


def test_a_nested_text_field_is_found_as_in_training(trained, tmp_path, monkeypatch):
    skip_the_model(monkeypatch)
    assert (
        predict(trained, tmp_path, b'{"review": {"body": "a film"}}\n', "--data.text=review.body")
        == 0
    )
    assert toy.read_jsonl(tmp_path / "out.jsonl")[0]["review"] == {"body": "a film"}


def test_what_json_cannot_hold_is_written_as_tensorflow_serving_does(
    trained, tmp_path, monkeypatch
):
    skip_the_model(monkeypatch)
    text, image = (
        tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for value in ("电影".encode(), b"\xff\xd8\x00")
    )
    score = tf.train.Feature(float_list=tf.train.FloatList(value=[float("nan"), 0.5]))
    with tf.io.TFRecordWriter(str(tmp_path / "in.tfrecord")) as records:
        records.write(
            tf.train.Example(
                features=tf.train.Features(feature={"text": text, "image": image, "score": score})
            ).SerializeToString()
        )
    assert (
        toy.run_main(
            None,
            trained,
            "--mode=predict",
            "--data.source=tfrecord",
            f"--input={tmp_path}/in.tfrecord",
            f"--output={tmp_path}/out.jsonl",
        )
        == 0
    )
    (answer,) = (
        json.loads(line, parse_constant=pytest.fail)
        for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    )
    assert {name: answer[name] for name in ("text", "image", "score", "label")} == {
        "text": "电影",
        "image": {"b64": "/9gA"},
        "score": [None, 0.5],
        "label": "pos",
    }


@pytest.mark.parametrize("kind", ["file", "line"])
def test_a_long_document_has_one_answer(trained, tmp_path, monkeypatch, kind):
    skip_the_model(monkeypatch)
    monkeypatch.setattr("trainer.sources.text.PART", 50)
    content = "".join(f"the film was number {number}\n" for number in range(20))
    (tmp_path / "in.txt").write_text(content)
    flags = (
        "--data.source=text",
        f"--data.document={kind}",
        f"--input={tmp_path}/in.txt",
        f"--output={tmp_path}/out.jsonl",
    )
    assert toy.run_main(None, trained, "--mode=predict", *flags) == 0
    answers = toy.read_jsonl(tmp_path / "out.jsonl")
    assert [answer["text"] for answer in answers] == (
        [content] if kind == "file" else content.splitlines()
    )
    assert all(set(answer) == {"text", "label"} for answer in answers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--input: missing. Expected a file of JSON lines, or - for standard input."),
        (
            ("--input=/nowhere.jsonl",),
            "--input: there is no file or folder '/nowhere.jsonl'. / holds: ",
        ),
        (
            ("--data.source=text", "--input=/nowhere.txt"),
            "--input: there is no file or folder '/nowhere.txt'. / holds: ",
        ),
        (
            ("--data.source=folders", "--input=/dev/null"),
            (
                "--input: expected one folder that holds the class folders, '/dev/null' names no"
                " folder. Give the"
            ),
        ),
    ],
)
def test_a_missing_input_is_named(trained, capsys, arguments, message):
    assert toy.run_main(None, trained, "--mode=predict", *arguments) == 2
    assert message in capsys.readouterr().err
