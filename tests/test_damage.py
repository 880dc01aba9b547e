"""Every file of a store and of a job_dir, changed or deleted: it is told, without a traceback."""

import json
import random
import shutil

import numpy as np
import pytest

from tests import toy
from tests.damage import KINDS, damage, files_below
from trainer.data.prepare import prepare
from trainer.errors import UserError
from trainer.heads.classification import Settings as HeadSettings
from trainer.heads.classification import make_head
from trainer.run.job import Job
from trainer.settings.resolve import resolve
from trainer.sources import jsonl
from trainer.text import load_tokenizer

SEED = 21


def values_of(prepared):
    """All that training and evaluation take of it."""
    found = {"vocabulary": prepared.vocabulary, "ledger": prepared.ledger.entries}
    for split, store in prepared.splits.items():
        arrays = {**store.tokens, **store.columns, **store.extras, "row_splits": store.row_splits}
        found[split] = (
            {name: np.asarray(values).tolist() for name, values in arrays.items()},
            store.meta,
        )
    return found


@pytest.fixture(scope="module")
def encode(tmp_path_factory):
    """A function that prepares the same three splits each time."""
    folder = tmp_path_factory.mktemp("encode")
    tokenizer = load_tokenizer(toy.write_checkpoint(folder / "weights", weights=False))
    settings = jsonl.Settings(
        train=str(toy.write_sentences(folder / "train.jsonl", 60)),
        validation=0.2,
        test=0.2,
        seq_len=8,
        cache_dir=str(folder / "cache"),
    )
    reader = make_head(HeadSettings(), settings, tokenizer).reader
    return lambda: prepare(settings, reader, tokenizer.fingerprint)


def assert_store_heals(encode, whole, wanted, file, kind, rng):
    damage(file, kind, rng)
    again = encode()
    assert not again.reused and str(file) in again.replaced, (file.name, kind)
    assert values_of(again) == wanted, (file.name, kind)
    assert encode().reused


def store_cases(folder, kinds):
    return [(file, kind) for file in files_below(folder) for kind in kinds]


def test_a_sample_of_damaged_stores(encode):
    whole = encode()
    wanted, rng = values_of(whole), random.Random(SEED)
    for file, kind in rng.sample(store_cases(whole.folder, KINDS), 12):
        assert_store_heals(encode, whole, wanted, file, kind, rng)


@pytest.mark.slow
def test_two_hundred_damaged_stores(encode):
    whole = encode()
    wanted, rng = values_of(whole), random.Random(SEED)
    cases = store_cases(whole.folder, KINDS)
    assert len(cases) >= 193
    for file, kind in cases:
        assert_store_heals(encode, whole, wanted, file, kind, rng)
    print(f"{len(cases)} damaged files of a store: all noticed, all encoded anew")


TOLD = (
    ".data",
    ".checksums.json",
    "ledger.json",
    "plan.json",
    "results.json",
    "predictions.jsonl",
)  # in a line; the model does not need them
NEEDED = ("vocabulary.json", "calibration.json", "config.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run whose validation decides a threshold, so that it has every kind of file."""
    folder = tmp_path_factory.mktemp("damaged")
    rows = []
    for number, row in enumerate(toy.sentences(60)):
        answers = [{"text": row["text"].split()[0], "answer_start": 0}]
        rows.append(
            {"question": "film?", "context": row["text"], "label": answers if number % 3 else []}
        )
    weights = toy.write_checkpoint(folder / "weights", layers=1, hidden=16)
    config = toy.write_config(
        folder,
        weights,
        toy.write_jsonl(folder / "train.jsonl", rows),
        head={"name": "question_answering", "max_question_tokens": 8},
        data={"validation": 0.3, "text": ["question", "context"]},
        train={"steps": 6, "checkpoint_every_steps": 2},
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder / "job"


def copied(job, tmp_path, number=0):
    return shutil.copytree(job, tmp_path / f"job{number}")


def said_of(job):
    """What the modes that use a job say before they begin; nothing where nothing is amiss."""
    try:
        Job(job).require_trained()
        resolve(job / "config.yaml", {})
        return Job(job).damaged()
    except UserError as error:
        return [str(error)]


def test_a_whole_job_is_damaged_nowhere(finished):
    assert said_of(finished) == []
    there = {path.name for path in finished.iterdir() if path.is_file()}
    assert there == {*TOLD, *NEEDED, "metrics.jsonl", ".lock", ".podtune"}


@pytest.mark.parametrize("name", [*TOLD, *NEEDED])
def test_every_damaged_file_of_a_job_is_told(finished, tmp_path, name):
    rng = random.Random(SEED)
    for number, kind in enumerate(KINDS):
        job = copied(finished, tmp_path, number)
        before = (job / name).read_bytes()
        damage(job / name, kind, rng)
        said = said_of(job)
        harmless = (
            name == "config.yaml" and kind != "deleted" and resolves_alike(job / name, before)
        )
        assert len(said) == (0 if harmless else 1), (kind, said)
        if said and name in NEEDED:
            assert name in said[0] and "\\n" not in said[0]
        if said and name in ("vocabulary.json", "calibration.json"):
            assert (
                f"{job / name} is " in said[0]
                and f"--mode=train --config={job / 'config.yaml'} --job_dir={job}" in said[0]
            )


def resolves_alike(file, before):
    """Whether the values are those from before, but for what a user may change."""
    other = file.with_name("before.yaml")
    other.write_bytes(before)
    try:
        values = [resolve(path, {}).config.model_dump() for path in (other, file)]
    except UserError:
        return False
    for each in values:
        for key in ("distribution", "export"):
            each.pop(key)
        for key in (
            "micro_batches",
            "steps_per_call",
            "keep_checkpoints",
            "checkpoint_every_steps",
            "evaluation_batch_size",
        ):
            each["train"].pop(key)
        each["data"].pop("cache_dir")
    return values[0] == values[1]


def test_a_config_that_was_edited_is_told_key_by_key(finished, tmp_path, capsys):
    job = copied(finished, tmp_path)
    text = (job / "config.yaml").read_text()
    assert "  seq_len: 32 " in text
    (job / "config.yaml").write_text(text.replace("  seq_len: 32 ", "  seq_len: 16 "))
    assert toy.run_main(None, job, "--mode=evaluate") == 2
    assert capsys.readouterr().err.endswith(
        f"{job / 'config.yaml'} was changed since its run began:\n"
        "  data.seq_len: 32 when the run began, 16 now\n"
        "Put those values back. To use others, give them as flags, "
        "such as --train.evaluation_batch_size=8.\n"
    )
    assert toy.run_main(job / "config.yaml", job) == 2
    assert capsys.readouterr().err.endswith(
        f"{job / 'config.yaml'} was changed since its run began:\n"
        "  data.seq_len: 32 when the run began, 16 now\n"
        "To go on with that run, put those values back. "
        "To train with the new ones: --config with a copy of the file, and another --job_dir.\n"
    )
    (job / "config.yaml").write_text(
        "# mine\n" + text.replace("evaluation_batch_size: 64", "evaluation_batch_size: 8")
    )
    assert said_of(job) == []


def test_a_config_that_is_gone_does_not_let_another_take_its_place(finished, tmp_path, capsys):
    job = copied(finished, tmp_path)
    (job / "config.yaml").unlink()
    assert toy.run_main(finished.parent / "config.yaml", job, "--train.learning_rate=0.5") == 2
    assert "  train.learning_rate: 0.003 there, 0.5 here\n" in capsys.readouterr().err
    (job / ".checksums.json").unlink()
    assert toy.run_main(finished.parent / "config.yaml", job) == 2
    assert (
        "config.yaml: missing or damaged, and there are checkpoints: nothing says with which config"
        in capsys.readouterr().err
    )


def test_the_remedy_of_a_lost_file_works(finished, tmp_path, capsys):
    job = copied(finished, tmp_path)
    wanted = {
        name: (job / name).read_bytes()
        for name in ("vocabulary.json", "calibration.json", "metrics.jsonl", ".data")
    }
    (job / "calibration.json").write_text("{}")
    (job / "vocabulary.json").unlink()
    (job / ".data").write_text("0")
    (job / "results.json").write_text("{")
    assert toy.run_main(None, job, "--mode=evaluate") == 2
    assert (
        f"{job / 'vocabulary.json'} is missing. Put back a copy of it, or let the "
        "training, which goes on where" in capsys.readouterr().err
    )
    assert toy.run_main(job / "config.yaml", job) == 0
    said = capsys.readouterr().err
    for name in ("vocabulary.json", "calibration.json", ".data", "results.json"):
        assert f"{job / name} is " in said
    assert "resuming after step 6 of 6" in said
    assert {name: (job / name).read_bytes() for name in wanted} == wanted
    assert json.loads((job / "results.json").read_text())["step"] == 6
    assert said_of(job) == []


@pytest.mark.slow
def test_every_damaged_file_of_a_job_in_every_mode(finished, tmp_path, capsys):
    """The real entry, by file, kind and mode: a word about it, and the same answers or none."""
    rng = random.Random(SEED)
    tried = 0
    silent = []
    asked = toy.write_jsonl(
        tmp_path / "asked.jsonl", [{"question": "film?", "context": "a great film"}]
    )
    last = sorted((finished / "checkpoints").iterdir())[-1].relative_to(finished)
    names = [
        *TOLD,
        *NEEDED,
        "metrics.jsonl",
        *(
            f"{last}/{name}"
            for name in ("state.json", "weights.index", "weights.data-00000-of-00001")
        ),
    ]
    modes = {"train": (), "evaluate": (), "predict": (f"--input={asked}", "--output=-")}
    wanted = outcome(copied(finished, tmp_path, "whole"), "predict", modes["predict"], capsys)[1]
    for name in names:
        for kind in ("digit", "deleted"):
            for mode, flags in modes.items():
                job = copied(finished, tmp_path, f"{tried}")
                before = (job / name).read_bytes()
                damage(job / name, kind, rng)
                code, out, err = outcome(job, mode, flags, capsys)
                tried += 1
                assert code in (0, 2) and "Traceback" not in err, (name, kind, mode, err)
                told = name.rpartition("/")[2] in err
                harmless = (
                    name == "config.yaml" and kind == "digit" and resolves_alike(job / name, before)
                )
                if not (told or harmless):
                    silent.append((name, kind, mode))
                if code == 0 and mode == "predict":
                    assert out == wanted, (name, kind)
                if code == 0 and mode == "train":
                    assert (job / "metrics.jsonl").read_bytes() == (
                        finished / "metrics.jsonl"
                    ).read_bytes()
                shutil.rmtree(job)
    print(f"{tried} runs on damaged job_dirs, silent: {silent}")
    # What a mode does not read and training has not noted: metrics.jsonl, outside of training.
    assert {name for name, _, _ in silent} <= {"metrics.jsonl"} and all(
        mode != "train" for _, _, mode in silent
    )


def outcome(job, mode, flags, capsys):
    arguments = (job / "config.yaml", job) if mode == "train" else (None, job, f"--mode={mode}")
    code = toy.run_main(*arguments, *flags)
    captured = capsys.readouterr()
    return code, captured.out, captured.err
