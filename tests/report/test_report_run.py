"""The report of a real run: written at its end, made again, asked for more than it is."""

import json
import shutil

import pytest

from tests import toy
from trainer.report import make

pytestmark = pytest.mark.heavy  # a run trains
REPORT = {"write": True, "require": {"accuracy": 0.99}}


@pytest.fixture(scope="module")
def job(tmp_path_factory, toy_weights):
    """The job_dir of a run that has not learnt enough. Not to be written to."""
    folder = tmp_path_factory.mktemp("report")
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_sentences(folder / "train.jsonl", 40),
        train={"steps": 2},
        data={"validation": 0.5},
        report={**REPORT, "fail": True},
    )
    assert toy.run_main(config, folder / "job") == 3  # and all is written
    return folder / "job"


def copy(job, folder, *left_out):
    """The job_dir, which may be written to."""
    return shutil.copytree(job, folder / "job", ignore=shutil.ignore_patterns(*left_out))


def test_a_run_ends_with_its_report(job):
    page = (job / "report.html").read_text("utf-8")
    facts = json.loads((job / "report.json").read_text("utf-8"))
    results = json.loads((job / "results.json").read_text("utf-8"))
    assert facts["verdict"]["metrics"]["validation"] == results["validation"]
    assert facts["setup"]["origins"]["train.steps"].startswith(str(job.parent / "config.yaml:"))
    assert "Not met: accuracy" in page and "timeline" in results


def test_it_is_made_again_without_the_model(job, tmp_path, capsys):
    copied = copy(job, tmp_path, "checkpoints")
    before = (copied / "report.html").read_bytes()
    (copied / "report.html").unlink()
    assert toy.run_main(None, copied, "--mode=report", "--report.fail=false") == 0
    assert (copied / "report.html").read_bytes() == before
    assert f"report: {copied}/report.html" in capsys.readouterr().out
    assert toy.run_main(None, copied, "--mode=report") == 3
    assert "what report asks for is not met: accuracy" in capsys.readouterr().err


def test_it_is_set_beside_an_earlier_run(job, tmp_path, capsys):
    copied = copy(job, tmp_path, "checkpoints")
    flags = ["--mode=report", "--report.fail=false", f"--report.against={job}"]
    assert toy.run_main(None, copied, *flags) == 0
    against = json.loads((copied / "report.json").read_text("utf-8"))["verdict"]["against"]
    assert against["name"] == "job" and against["difference"] == 0 and not against["is_better"]
    assert "may be chance" in (copied / "report.html").read_text("utf-8")
    other = copy(job, tmp_path / "other", "checkpoints")
    lines = (other / "predictions.jsonl").read_text("utf-8")
    (other / "predictions.jsonl").write_text(lines.replace("validation", "test"), "utf-8")
    (other / ".checksums.json").unlink()
    flags = ["--mode=report", "--report.fail=false", f"--report.against={other}"]
    assert toy.run_main(None, copied, *flags) == 0
    assert "they share no split" in (copied / "report.html").read_text("utf-8")
    assert toy.run_main(None, copied, "--mode=report", "--report.against=nowhere") == 2
    assert "report.against=nowhere: no config.yaml there" in capsys.readouterr().err


def test_an_earlier_run_that_is_none_is_told_before_training(tmp_path, toy_weights, capsys):
    train = toy.write_sentences(tmp_path / "train.jsonl", 40)
    config = toy.write_config(tmp_path, toy_weights, train, report={"against": "nowhere"})
    assert toy.run_main(config, tmp_path / "new") == 2
    assert "report.against=nowhere: no config.yaml there" in capsys.readouterr().err
    assert not (tmp_path / "new/metrics.jsonl").exists()


def test_what_train_has_nearly_as_well_is_listed(tmp_path, toy_weights):
    words = [f"the film number {number} was good and long, with a dog" for number in range(40)]
    texts = [{"text": text, "label": "pos" if n % 2 else "neg"} for n, text in enumerate(words)]
    train = toy.write_jsonl(tmp_path / "train.jsonl", texts[1:])
    near = {"text": words[1] + " and", "label": "pos"}
    test = toy.write_jsonl(tmp_path / "test.jsonl", [texts[0], near])
    config = toy.write_config(
        tmp_path,
        toy_weights,
        train,
        train={"steps": 1},
        data={"test": str(test)},
        report={"write": True, "explained": 0, "perturbed": 0},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    kept = json.loads((tmp_path / "job/near_duplicates.json").read_text("utf-8"))
    pairs = {pair["id"]: pair for pair in kept["test"]["pairs"]}
    assert pairs[1]["train"] == f"{train}:1"
    facts = json.loads((tmp_path / "job/report.json").read_text("utf-8"))["failures"]
    assert facts["near_duplicates"] == len(pairs)


def test_a_report_that_cannot_be_made_costs_nothing_else(job, tmp_path, monkeypatch, capsys):
    copied = copy(job, tmp_path)

    def fail(*arguments):
        raise ValueError("no figure")

    monkeypatch.setattr(make, "write_report", fail)
    assert toy.run_main(None, copied, "--mode=evaluate", "--report.fail=false") == 0
    assert "the report could not be made: 'no figure'" in capsys.readouterr().err
    monkeypatch.undo()

    def break_off(*arguments):
        raise RuntimeError("no gradient")

    monkeypatch.setitem(make.KEPT_PARTS, "the explanations", break_off)
    (copied / "report.html").unlink()
    assert toy.run_main(None, copied, "--mode=evaluate", "--report.fail=false") == 0
    assert "the explanations could not be made: 'no gradient'" in capsys.readouterr().err
    assert (copied / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "missing. A report is made of it"),
        ("", "it is empty, as the run has neither validation nor test"),
        ('{"split": "test", "id": 0}\n{"split"', "predictions.jsonl:2: it is no answer"),
        ('{"split": "test", "id": 0}\n["split"]\n', "predictions.jsonl:2: it is no answer"),
        ('{"split": "test"\n', "predictions.jsonl:1: it is no answer"),
    ],
)
def test_answers_that_are_none_are_told(job, tmp_path, capsys, content, said):
    copied = copy(job, tmp_path, "checkpoints", ".checksums.json")
    file = copied / "predictions.jsonl"
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert toy.run_main(None, copied, "--mode=report") == 2
    error = capsys.readouterr().err
    assert said in error and "podtune evaluate" in error


def test_an_answer_that_was_changed_is_told(job, tmp_path, capsys):
    copied = copy(job, tmp_path, "checkpoints")
    file = copied / "predictions.jsonl"
    file.write_text(file.read_text("utf-8").replace('"gold": "neg"', '"gold": "pos"', 1))
    assert toy.run_main(None, copied, "--mode=report") == 2
    error = capsys.readouterr().err
    assert "predictions.jsonl" in error and "not what was written" in error
    assert f"podtune evaluate {copied}" in error
