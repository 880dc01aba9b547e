"""--output replaces an earlier run's answers and nothing else; a pipe or device is written to as it
is.
"""

import json
import os
import threading
import types

import pytest

from tests import toy
from trainer.console.standard_streams import OutputError, ReaderGoneError
from trainer.errors import UserError
from trainer.run.job import Job
from trainer.serve import answers_file
from trainer.settings.resolve import resolve

ANSWER = '{"text": "a", "label": "b", "probabilities": {"b": 1.0}}\n'


@pytest.fixture
def run(tmp_path):
    for name in (
        "weights",
        "data/deep",
        "job/checkpoints/step_00000003",
        "job/logs",
        "job/model",
        "job/huggingface",
    ):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "weights/config.json",
        "data/train.jsonl",
        "data/deep/part.jsonl",
        "in.jsonl",
        "in2.jsonl",
    ):
        (tmp_path / name).write_text(ANSWER)  # what it looks like is no excuse
    for name in ("job/metrics.jsonl", "job/config.yaml", "thesis.txt"):
        (tmp_path / name).write_text("precious\n")
    values = toy.config_values(
        tmp_path,
        tmp_path / "weights",
        tmp_path / "data" / "train.jsonl",
        data={"validation": f"{tmp_path}/data/deep/*.jsonl", "cache_dir": str(tmp_path / "cache")},
    )
    (tmp_path / "config.yaml").write_text(json.dumps(values))
    return tmp_path


def refused(run, output, source="in.jsonl"):
    config = resolve(run / "config.yaml").config
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    try:
        answers_file.require_output(
            str(run / output),
            source if source == "-" else str(run / source),
            config,
            Job(run / "job"),
        )
    except UserError as error:
        return str(error).replace(str(run), "RUN")
    finally:
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return None


@pytest.mark.parametrize(
    ("output", "source", "said"),
    [
        (
            "in.jsonl",
            "in.jsonl",
            "--output: RUN/in.jsonl is what --input names. Give another --output.",
        ),
        ("to_in.jsonl", "in.jsonl", "--output: RUN/to_in.jsonl is what --input names."),
        ("in2.jsonl", "in*.jsonl", "--output: RUN/in2.jsonl is what --input names."),
        (
            "data/train.jsonl",
            "in.jsonl",
            "--output: RUN/data/train.jsonl is what data.train names.",
        ),
        (
            "data/deep/part.jsonl",
            "in.jsonl",
            "--output: RUN/data/deep/part.jsonl is what data.validation names.",
        ),
        (
            "weights/config.json",
            "in.jsonl",
            "--output: RUN/weights/config.json is what backbone.weights names.",
        ),
        (
            "data",
            "in.jsonl",
            "--output: RUN/data is a folder. Give a file, such as RUN/data/answers.jsonl.",
        ),
        ("job", "in.jsonl", "--output: RUN/job is a folder."),
        ("job/config.yaml", "in.jsonl", "--output: RUN/job/config.yaml is a file of the job."),
        ("job/metrics.jsonl", "in.jsonl", "--output: RUN/job/metrics.jsonl is a file of the job."),
        ("job/results.json", "in.jsonl", "--output: RUN/job/results.json is a file of the job."),
        (
            "job/checkpoints/step_00000003/a",
            "in.jsonl",
            "--output: RUN/job/checkpoints/step_00000003/a lies in the job's checkpoints.",
        ),
        ("job/model/a", "in.jsonl", "--output: RUN/job/model/a lies in the job's model."),
        (
            "job/huggingface/a",
            "in.jsonl",
            "--output: RUN/job/huggingface/a lies in the job's export.",
        ),
        (
            "thesis.txt",
            "in.jsonl",
            (
                "--output: RUN/thesis.txt is there and holds no answers of --mode=predict: it"
                " begins 'precious\\n'. Give another --output, or"
            ),
        ),
        ("thesis.txt/a", "in.jsonl", "cannot write 'RUN/thesis.txt': "),
        ("n" * 300, "in.jsonl", "--output: RUN/nnn"),
    ],
)
def test_what_would_be_destroyed_is_refused(run, output, source, said):
    (run / "to_in.jsonl").symlink_to("in.jsonl")
    assert refused(run, output, source).startswith(said)


def test_what_standard_input_comes_from_is_refused(run, monkeypatch):
    kept = os.dup(0)
    with (run / "in.jsonl").open() as file:
        os.dup2(file.fileno(), 0)
    try:
        assert (
            refused(run, "in.jsonl", "-")
            == "--output: RUN/in.jsonl is what --input=- reads. Give another --output."
        )
        assert refused(run, "new.jsonl", "-") is None
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@pytest.mark.parametrize(
    "output",
    ["new.jsonl", "new/deep.jsonl", "empty", "answers.jsonl", "job/answers.jsonl", "to_new"],
)
def test_what_is_missing_empty_or_answers_may_be_written(run, output):
    (run / "empty").touch()
    (run / "answers.jsonl").write_text(ANSWER)
    (run / "to_new").symlink_to("new.jsonl")
    assert refused(run, output) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (ANSWER, True),
        ('{"id": 1, "label": "x", "predicted_label": "y"}\n', True),
        ('{"text": "a", "entities": [{"start": 0, "score": 0.5}]}\n', True),
        (
            '{"text": "", "entities": []}\n' * 3
            + '{"text": "a", "tags": [], "entities": [{"score": 0.5}]}\n',
            True,
        ),
        ('{"answer": "a", "score": 1}\n', True),
        ('{"text": "a", "generated_text": "b"}\n', True),
        ('{"text": "a", "error": "not JSON"}\n' + ANSWER, True),
        ('{"a": 1, "value": 0.5}\n\n', True),
        (ANSWER * 2000, True),
        (ANSWER.replace('"a"', f'"{"long" * 30_000}"'), False),
        ('{"text": "a", "label": "b"}\n', False),
        ('{"text": "a", "entities": [{"start": 0, "end": 1}]}\n', False),
        ("[]\n", False),
        ("text\n", False),
        ('{"probabilities": 1}\ntext\n', False),
        ('{"step": 1, "split": "train", "loss": 0.5}\n', False),
        ("\x00\xff", False),
        ("[" * 50_000, False),
    ],
)
def test_answers_are_known_by_what_only_they_have(content, told):
    assert (
        answers_file.holds_answers(
            content.encode("utf-8", "replace")[: answers_file.LOOKED_AT_BYTES]
        )
        is told
    )


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    (tmp_path / "out").write_text(ANSWER)
    with pytest.raises(ValueError), answers_file.writing(str(tmp_path / "out")) as output:
        output.write("half")
        raise ValueError
    assert (tmp_path / "out").read_text() == ANSWER and os.listdir(tmp_path) == ["out"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with answers_file.writing(str(pipe)) as output:
        output.write(ANSWER)
    reader.join()
    assert read == [ANSWER] and pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_a_pipe_whose_reader_goes_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ReaderGoneError), answers_file.writing(str(tmp_path / "pipe")) as output:
        os.close(reader)
        output.write(ANSWER)
        output.flush()


def test_a_device_is_written_to_and_stays_one(tmp_path):
    with answers_file.writing("/dev/null") as output:
        output.write(ANSWER)
    assert not os.path.isfile("/dev/null")
    (tmp_path / "to_full").symlink_to("/dev/full")
    for target in ("/dev/full", str(tmp_path / "to_full")):
        with (
            pytest.raises(
                OutputError, match=f"--output={target} cannot be written: No space left on device"
            ),
            answers_file.writing(target) as output,
        ):
            output.write(ANSWER)


def test_an_open_file_by_its_number_is_gone_on_with(tmp_path):
    with (tmp_path / "log").open("w") as log:
        log.write("before\n")
        log.flush()
        with answers_file.writing(f"/dev/fd/{log.fileno()}") as output:
            output.write(ANSWER)
    assert (tmp_path / "log").read_text() == f"before\n{ANSWER}"


@pytest.mark.parametrize("output", ["in.jsonl", "thesis.txt"])
@pytest.mark.heavy
def test_predict_refuses_before_it_builds_a_model(trained, tmp_path, capsys, monkeypatch, output):
    monkeypatch.setattr("trainer.modes.predict.load_kept", lambda *_, **__: pytest.fail("built"))
    toy.write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    (tmp_path / "thesis.txt").write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert (
        toy.run_main(
            None,
            trained,
            "--mode=predict",
            f"--input={tmp_path}/in.jsonl",
            f"--output={tmp_path / output}",
        )
        == 2
    )
    assert (
        f"error: --output: {tmp_path / output} is " in capsys.readouterr().err
        and {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    )


@pytest.mark.parametrize(
    ("target", "code", "said"), [("/dev/full", 2, "No space left on device"), ("/dev/null", 0, "")]
)
@pytest.mark.heavy
def test_predict_writes_to_devices(trained, tmp_path, capsys, monkeypatch, target, code, said):
    from tests.modes.test_predict import skip_the_model

    skip_the_model(monkeypatch)
    toy.write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    assert (
        toy.run_main(
            None, trained, "--mode=predict", f"--input={tmp_path}/in.jsonl", f"--output={target}"
        )
        == code
    )
    error = capsys.readouterr().err
    assert (
        said in error
        and "Traceback" not in error
        and os.path.exists(target)
        and not os.path.isfile(target)
    )


@pytest.mark.heavy
def test_predict_ends_with_one_line_where_nobody_reads(trained, tmp_path, capsys, monkeypatch):
    from tests.modes.test_predict import skip_the_model

    skip_the_model(monkeypatch)

    def write(text):
        raise BrokenPipeError

    toy.write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    monkeypatch.setattr(
        "sys.stdout",
        types.SimpleNamespace(write=write, flush=lambda: None, reconfigure=lambda **_: None),
    )
    assert toy.run_main(None, trained, "--mode=predict", f"--input={tmp_path}/in.jsonl") == 141
    assert capsys.readouterr().err.endswith("stopped: nobody reads what is written any more\n")
