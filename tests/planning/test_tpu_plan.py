"""The steps of a run, compiled for a TPU on a machine without one, by the TPU's own compiler."""

import importlib.util
import json
import types

import pytest
import tensorflow as tf

from tests import toy
from trainer.heads._classes.graph import ClassGraph
from trainer.planning import batch_search, compiled_steps, tpu_compiler
from trainer.planning.generations import GENERATIONS
from trainer.planning.lowering import Shape, StepLowering

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs jax and libtpu, from Python 3.11 on"
)


@pytest.fixture(autouse=True)
def short_search(monkeypatch):
    monkeypatch.setattr(batch_search, "SEARCHED_TOKENS", 512)


def planned(tmp_path, *flags, dropout=0.1, **sections):
    """The exit code of --mode=plan, and plan.json."""
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights", layers=1, dropout=dropout),
        toy.write_sentences(tmp_path / "train.jsonl", 100),
        **{**sections, "data": {"validation": 0.2, **sections.get("data", {})}},
    )
    code = toy.run_main(config, tmp_path / "job", "--mode=plan", *flags)
    return code, json.loads((tmp_path / "job" / "plan.json").read_text())


@needs_libtpu
@pytest.mark.parametrize(
    ("generation", "batching", "searched_rows"),
    [
        ("v5e", "fixed", 4),
        pytest.param("v5e", "packed", 16, marks=pytest.mark.slow),
        pytest.param("v3", "packed", 16, marks=pytest.mark.slow),
    ],
)
def test_every_shape_of_the_plan_compiles_with_its_memory_and_cost(
    tmp_path, monkeypatch, capsys, generation, batching, searched_rows
):
    monkeypatch.setattr(batch_search, "SEARCHED_TOKENS", 32 * searched_rows)
    code, facts = planned(
        tmp_path,
        f"--plan.tpu={generation}",
        "--plan.replicas=4",
        "--plan.price_per_chip_hour=2",
        data={"batching": batching},
        train={"precision": "mixed_bfloat16", "micro_batches": 2, "ema_decay": 0.99},
    )
    assert code == 0
    compiled = facts["compiled"]
    assert compiled["tpu"] == generation and {shape["step"] for shape in compiled["shapes"]} == {
        "train",
        "evaluate",
    }
    assert len(compiled["shapes"]) <= 4 and facts["replicas"] == 4
    for shape in compiled["shapes"]:
        assert (
            shape["flops"] > 0
            and shape["bytes"] > 0
            and 0 < shape["hbm_share"] < 0.1
            and shape["seconds_at_best"] > 0
        )
    assert compiled["largest"]["rows"] == searched_rows and compiled["largest"]["hbm_share"] < 1
    estimate = compiled["estimate"]
    chips = 4 / GENERATIONS[generation].replicas_per_chip
    assert estimate["epoch_s"] == pytest.approx(estimate["step_s"] * facts["steps_per_epoch"])
    assert estimate["cost_per_epoch"] == pytest.approx(estimate["epoch_s"] / 3600 * chips * 2)
    assert f"Compiled for {generation}" in capsys.readouterr().err


@needs_libtpu
@pytest.mark.slow
def test_four_micro_batches_cost_four_times_one(tmp_path):
    costs = []
    for micro_batches in (1, 4):
        folder = tmp_path / str(micro_batches)
        folder.mkdir()
        _, facts = planned(
            folder,
            "--plan.tpu=v5e",
            "--plan.replicas=1",
            data={"batching": "fixed", "validation": None},
            train={"global_batch_size": 16 * micro_batches, "micro_batches": micro_batches},
        )
        costs.append(facts["compiled"]["shapes"][0]["flops"])
    assert costs[1] == pytest.approx(4 * costs[0], rel=0.1)


@needs_libtpu
def test_a_batch_of_100_gb_is_refused_with_what_it_needs(tmp_path, capsys):
    code, facts = planned(
        tmp_path,
        "--plan.tpu=v3",
        "--plan.replicas=1",
        data={"seq_len": 64, "batching": "fixed"},
        train={"global_batch_size": 400_000},
    )
    assert code == 2
    said = capsys.readouterr().err
    assert (
        "plan: " in said
        and "do not compile for v3; the first is train, 1 x 400000 rows of 64 tokens" in said
    )
    assert "exceeds available HBM" in said and "Traceback" not in said
    assert (
        "8 rows of 64 tokens fit: lower --train.global_batch_size or raise --train.micro_batches"
        in said
    )
    first = facts["compiled"]["shapes"][0]
    assert first["hbm_share"] > 6 and facts["compiled"]["largest"]["rows"] < 400_000  # 100 of 16 GB


def dynamic_loss(self, logits, batch):
    present = tf.boolean_mask(logits, batch.examples.weight > 0)
    return {"loss": tf.reduce_sum(present)}


def host_call(self, logits, batch):
    return {"loss": tf.reduce_sum(tf.py_function(lambda x: x, [logits], tf.float32))}


DYNAMIC = (dynamic_loss, "a size that is known only at run time: s64[<=")
HOST_CALL = (host_call, "EagerPyFunc")


@pytest.mark.parametrize(
    ("flag", "loss", "said"),
    [
        pytest.param("--plan.tpu=v5e", *DYNAMIC, marks=needs_libtpu),
        pytest.param("--plan.tpu=v5e", *HOST_CALL, marks=needs_libtpu),
        pytest.param("--plan.xla", *DYNAMIC, marks=pytest.mark.slow),
        ("--plan.xla", *HOST_CALL),
    ],
)
def test_a_dynamic_shape_and_a_host_callback_are_found_with_their_place(
    tmp_path, monkeypatch, capsys, loss, said, flag
):
    monkeypatch.setattr(ClassGraph, "losses", loss)
    code, facts = planned(tmp_path, flag)
    shapes = facts["compiled"]["shapes"]
    assert code == 2 and all("error" in shape for shape in shapes if shape["step"] == "train")
    assert not any("error" in shape for shape in shapes if shape["step"] == "evaluate")
    message = capsys.readouterr().err
    assert said in message and "loss" in message and "Traceback" not in message


def test_the_shapes_of_this_machine_compile(tmp_path):
    code, facts = planned(tmp_path, "--plan.xla", data={"batching": "fixed"})
    assert code == 0 and facts["compiled"]["tpu"] is None and facts["compiled"]["largest"] is None
    assert all("error" not in shape for shape in facts["compiled"]["shapes"])


def test_without_libtpu_the_message_says_what_to_install(tmp_path, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        tpu_compiler.importlib.util,
        "find_spec",
        lambda name: None if name == "libtpu" else found(name),
    )
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights", layers=1),
        toy.write_sentences(tmp_path / "train.jsonl", 40),
    )
    assert toy.run_main(config, tmp_path / "job", "--mode=plan", "--plan.tpu=v5e") == 2
    said = capsys.readouterr().err
    assert (
        "plan.tpu: needs libtpu, which this Python has not." in said
        and "pip install jax libtpu" in said
    )


FLAGS = (
    pytest.param("--plan.tpu=v3", marks=needs_libtpu),
    pytest.param("--plan.tpu=v5e", marks=needs_libtpu),
    "--plan.xla",
)


@pytest.mark.slow
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("kind", toy.HEADS)
def test_the_steps_of_every_head_compile(tmp_path, kind, flag):
    assert_compiled(tmp_path, kind, flag)


@pytest.mark.parametrize("kind", toy.HEADS)
def test_the_steps_of_every_head_can_be_lowered(tmp_path, monkeypatch, kind):
    """To a module of static sizes without a host callback, which is what a head can get wrong."""
    lower = StepLowering.lower

    def without_compiling(self, shape, *, training, compile_here):
        assert compile_here
        return lower(self, shape, training=training)

    monkeypatch.setattr(StepLowering, "lower", without_compiling)
    assert_compiled(tmp_path, kind, "--plan.xla")


def assert_compiled(folder, kind, flag):
    config = toy.write_head_config(folder, kind, 40)
    assert toy.run_main(config, folder / "job", "--mode=plan", flag, "--plan.replicas=2") == 0
    compiled = json.loads((folder / "job" / "plan.json").read_text())["compiled"]
    assert {shape["step"] for shape in compiled["shapes"]} == {"train", "evaluate"} and not any(
        "error" in shape for shape in compiled["shapes"]
    )


@pytest.mark.parametrize(
    ("shares", "low", "high", "expected"),
    [
        ({4: 0.01}, 4, None, 32),
        ({4: 0.01, 32: 0.04}, 32, None, 900),
        ({4: 0.01, 32: 0.04, 900: 1.2}, 32, 900, 728),
        ({8: float("inf")}, 0, 8, 4),
    ],
)
def test_the_search_looks_where_the_line_says(shares, low, high, expected):
    assert batch_search._guess(shares, low, high) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("Used 20.00G of 10.00G hbm. Exceeded", 2),
        (
            (
                "the total memory required for HLO temporaries (245.65G) exceeds available HBM"
                " (15.48G)."
            ),
            15.87,
        ),
    ],
)
def test_how_much_too_large_a_batch_is_is_read_from_the_compiler(said, share):
    assert compiled_steps._overflow_share(said) == pytest.approx(share, rel=1e-3)


def test_what_the_compiler_says_is_shortened():
    error = (
        "XlaRuntimeError: RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.00G of"
        ' 15.75G hbm.\n\n  Size: 1G\n  Operator: op_name="a/layer_3/dot"'
    )
    shown = compiled_steps.readable(error)
    assert shown.startswith("XlaRuntimeError: RESOURCE_EXHAUSTED") and "layer_3" in shown
    assert (
        compiled_steps._bytes("1.5", "G") == 1.5 * 2**30 and compiled_steps._bytes("10", "") == 10
    )


def test_a_compiler_that_ends_is_an_answer_and_is_started_again(tmp_path, monkeypatch):
    script = tmp_path / "compiler.py"
    script.write_text(
        "import sys\nfor line in sys.stdin:\n    if 'bad' in line:\n        sys.exit('CHECK failed:"
        " never thought of')\n    print('{\"flops\": 1}', flush=True)\n"
    )
    monkeypatch.setattr(tpu_compiler.tpu_compile, "__file__", str(script))
    compiler = tpu_compiler.TpuCompiler("v5e:2x2", tmp_path / "stderr")
    answers = [compiler.compile(tmp_path / name) for name in ("good", "bad", "good", "bad", "bad")]
    compiler.close()
    assert [answer.flops for answer in answers if answer.error is None] == [1, 1]
    errors = [answer.error for answer in answers]
    ended = "the compiler ended: CHECK failed: never thought of"
    assert errors == [None, ended, None, ended, ended]


@pytest.mark.parametrize(
    ("fixed", "row", "expected"),
    [(0.01, 0.002, 485), (0.5, 0.1, 4), (0.0, 0.3, 3), (0.9, 0.2, None)],
)
def test_the_search_ends_at_the_memory(monkeypatch, fixed, row, expected):
    """Memory that grows with the rows; the largest that fits is found, or one that takes nine
    tenths.
    """
    compiled = []

    def check_step(lowering, compiler, generation, shape, *, training):
        compiled.append(shape.rows)
        return types.SimpleNamespace(hbm_share=fixed + row * shape.rows)

    monkeypatch.setattr(batch_search, "SEARCHED_TOKENS", 2**20)
    monkeypatch.setattr(batch_search, "check_step", check_step)
    first = types.SimpleNamespace(hbm_share=fixed + row * 4)
    largest = batch_search.largest_batch(
        None, None, None, Shape(4, 128, 4), first, say=lambda line: None
    )
    assert len(compiled) < batch_search.SEARCH_STEPS
    if expected is None:
        assert largest is None
    else:
        assert 0.9 * expected <= largest.rows <= expected and largest.hbm_share <= 1
