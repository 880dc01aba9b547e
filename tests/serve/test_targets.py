"""Where an export may go is judged before training: never over what the run reads or keeps."""

import json
import os
import pathlib
import shutil

import pytest

from tests import toy
from trainer.errors import UserError
from trainer.files import ownership
from trainer.run.job import Job
from trainer.serve import targets
from trainer.serve.warmup import BATCHING_FILE, BATCHING_PARAMETERS, write_batching_parameters
from trainer.settings.resolve import resolve
from trainer.settings.setting import Setting


@pytest.fixture
def run(tmp_path):
    """A config with weights, a tokenizer, data as a file, a glob and a folder, and a job_dir with a
    checkpoint.
    """
    for name in (
        "weights",
        "tokenizer",
        "data/deep",
        "classes/a",
        "job/checkpoints/step_00000003",
        "job/logs",
        "mine",
    ):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "weights/config.json",
        "data/train.jsonl",
        "data/deep/part.jsonl",
        "classes/a/text.txt",
        "mine/thesis.txt",
        "a_file",
    ):
        (tmp_path / name).write_text("precious")
    values = toy.config_values(
        tmp_path,
        tmp_path / "weights",
        tmp_path / "data" / "train.jsonl",
        backbone={"tokenizer": str(tmp_path / "tokenizer")},
        data={
            "validation": f"{tmp_path}/data/deep/*.jsonl",
            "test": str(tmp_path / "classes"),
            "cache_dir": str(tmp_path / "cache"),
        },
    )
    (tmp_path / "config.yaml").write_text(json.dumps(values))
    return tmp_path


def refused(run, **export):
    settings = {("export", name): Setting(value, "a flag") for name, value in export.items()}
    config = resolve(run / "config.yaml", settings).config
    before = sorted(path.relative_to(run) for path in run.rglob("*"))
    try:
        targets.require_export_target(config, Job(run / "job"))
    except UserError as error:
        assert sorted(path.relative_to(run) for path in run.rglob("*")) == before
        return str(error).replace(str(run), "RUN")
    return None


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        ("job", "export.directory: RUN/job is the job_dir: an export replaces its folder whole. "),
        (".", "export.directory: RUN holds RUN/job, the job_dir: "),
        ("job/checkpoints", "export.directory: RUN/job/checkpoints is the job's checkpoints: "),
        (
            "job/checkpoints/new",
            (
                "export.directory: RUN/job/checkpoints/new lies in the job's checkpoints,"
                " RUN/job/checkpoints. "
            ),
        ),
        (
            "job/logs/train",
            "export.directory: RUN/job/logs/train lies in the job's logs, RUN/job/logs. ",
        ),
        ("weights", "export.directory: RUN/weights is what backbone.weights names: "),
        ("tokenizer", "export.directory: RUN/tokenizer is what backbone.tokenizer names: "),
        ("data", "export.directory: RUN/data holds RUN/data/train.jsonl, what data.train names: "),
        ("data/deep", "export.directory: RUN/data/deep is what data.validation names: "),
        ("classes", "export.directory: RUN/classes is what data.test names: "),
        (
            "classes/a",
            "export.directory: RUN/classes/a lies in what data.test names, RUN/classes. ",
        ),
        (
            "classes/new",
            "export.directory: RUN/classes/new lies in what data.test names, RUN/classes. ",
        ),
        ("to_weights", "export.directory: RUN/to_weights is what backbone.weights names: "),
        ("mine", "RUN/mine holds thesis.txt, which podtune did not write: it is not replaced. "),
        ("a_file", "RUN/a_file is a file, and a folder is to be written there. "),
        ("a_file/model", "cannot write 'RUN/a_file': "),
        ("n" * 300, "RUN/nnn"),
        (
            "to_mine",
            "RUN/to_mine holds thesis.txt, which podtune did not write: it is not replaced. ",
        ),
        (
            "to_itself",
            (
                "RUN/to_itself is a symbolic link that leads nowhere, and a folder is to be written"
                " there. "
            ),
        ),
    ],
)
@pytest.mark.parametrize("format", ["savedmodel", "huggingface"])
def test_what_is_not_ours_to_replace_is_refused_before_training(run, directory, said, format):
    for link, place in (("to_weights", "weights"), ("to_mine", "mine"), ("to_itself", "to_itself")):
        (run / link).symlink_to(place)
    found = refused(run, directory=str(run / directory), format=format)
    assert found.startswith(said) and (
        "Give another --export.directory" in found or "give another folder" in found
    )


@pytest.mark.parametrize(
    ("directory", "version"),
    [
        ("new", None),
        ("new/deep", None),
        ("empty", None),
        ("job/model", None),
        ("job/another", None),
        (None, None),
        ("weights/exported", None),
        ("data/deep/new", None),
        ("to_new", None),
        ("mine", 3),
        ("mine", "next"),
        ("job", 1),
    ],
)
def test_what_is_missing_or_empty_may_be_written(run, directory, version):
    (run / "empty").mkdir()
    (run / "to_new").symlink_to("new")
    assert (
        refused(
            run, directory=directory and str(run / directory), version=version, format="savedmodel"
        )
        is None
    )


def test_the_folder_of_a_version_is_looked_at(run):
    (run / "mine" / "3").mkdir()
    (run / "mine" / "3" / "notes").touch()
    said = refused(run, directory=str(run / "mine"), version=3, format="savedmodel")
    assert said.startswith("RUN/mine/3 holds notes, which podtune did not write")
    assert refused(run, directory=str(run / "a_file"), version=3, format="savedmodel").startswith(
        "RUN/a_file is a file, and a folder"
    )


def test_a_folder_in_the_job_dir_that_is_the_users_is_refused_with_a_remedy(run):
    (run / "job" / "model").mkdir()
    (run / "job" / "model" / "thesis.txt").touch()
    assert (
        refused(run, format="savedmodel")
        == "RUN/job/model holds thesis.txt, which podtune did not write: it is not replaced. Move"
        " it away, give another folder as --export.directory, or set --export.format=none."
    )
    assert refused(run, format="none") is None and refused(run, format="huggingface") is None


def test_an_export_that_is_what_the_run_reads_stays(run):
    ownership.mark(run / "weights")
    assert "is what backbone.weights names" in refused(
        run, directory=str(run / "weights"), format="huggingface"
    )


def test_exports_of_earlier_versions_are_recognised_by_their_files(run):
    folder = run / "job" / "model"
    for name in (
        *ownership.SAVED_MODEL,
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert refused(run, format="savedmodel") is None
    (folder / "assets.extra" / "notes").touch()
    assert "holds assets.extra/notes, which podtune did not write" in refused(
        run, format="savedmodel"
    )
    os.unlink(folder / "assets.extra" / "notes")
    os.unlink(folder / "assets.extra" / "labels.json")  # as any other program's SavedModel
    assert "and 2 more, which podtune did not write" in refused(run, format="savedmodel")


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("gs://bucket/data/train-*.jsonl", "gs://bucket/data"),
        ("gs://bucket/data/", "gs://bucket/data"),
        ("gs://b/d/**", "gs://b/d"),
        ("hf://org/name", None),
        ("/nowhere/[ab]*/x", "/nowhere"),
        ("pkg://not_installed/x", None),
        ("ftp://x/y", None),
        ("file:///nowhere/x", "/nowhere/x"),
    ],
)
def test_the_place_of_what_is_read(spec, place):
    assert targets.place_of_spec(spec) == place


@pytest.mark.parametrize(
    ("there", "ours"),
    [
        (None, True),
        ("", True),
        (BATCHING_PARAMETERS, True),
        ("max_batch_size { value: 8 }\n", False),
    ],
)
def test_batching_parameters_that_someone_tuned_stay(tmp_path, there, ours):
    file = tmp_path / BATCHING_FILE
    if there is not None:
        file.write_text(there)
    assert write_batching_parameters(file) is ours
    assert file.read_text() == (BATCHING_PARAMETERS if ours else there)


@pytest.mark.heavy
def test_a_training_run_refuses_its_target_before_it_prepares(toy_weights, tmp_path, capsys):
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 40),
        train={"steps": 1},
        export={"format": "savedmodel"},
    )
    precious = tmp_path / "job" / "model" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    assert toy.run_main(config, tmp_path / "job") == 2
    said = capsys.readouterr().err
    assert (
        "job/model holds thesis.txt, which podtune did not write" in said
        and "data: train" not in said
        and "Traceback" not in said
    )
    assert precious.read_text() == "precious" and not (tmp_path / "job" / "checkpoints").exists()


@pytest.mark.heavy
def test_an_export_is_replaced_by_the_next_and_by_no_export_where_notes_are_in_it(
    trained, tmp_path, capsys
):
    job = shutil.copytree(trained, tmp_path / "job")

    def export(*flags):
        return toy.run_main(None, job, "--mode=export", "--export.check_examples=2", *flags)

    assert export("--export.format=huggingface", f"--export.directory={job}") == 2
    assert (
        (job / "metrics.jsonl").exists()
        and any((job / "checkpoints").iterdir())
        and "is the job_dir" in capsys.readouterr().err
    )
    for _ in range(2):
        assert export("--export.format=huggingface", f"--export.directory={tmp_path / 'hf'}") == 0
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "hf").iterdir()} == {
        0o666 & ~umask()
    }
    notes = job / "model" / "notes.txt"
    notes.write_text("accuracy of 2026")
    before = {path: path.read_bytes() for path in (job / "model").rglob("*") if path.is_file()}
    assert export("--export.format=savedmodel") == 2
    assert (
        "model holds notes.txt, which podtune did not write: it is not replaced."
        in capsys.readouterr().err
    )
    assert {
        path: path.read_bytes() for path in (job / "model").rglob("*") if path.is_file()
    } == before
    assert [path.name for path in pathlib.Path(job).glob(".model*")] == []


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
