"""For which GPUs XLA compiles, and what is said where it does not.

No such GPU is at hand: what TensorFlow would tell of one is given, and all that reads it is real.
"""

import pytest
import tensorflow as tf

from tests import toy
from trainer.backbones import huggingface
from trainer.heads import causal_lm
from trainer.machine import xla
from trainer.machine.xla import RELEASED, Build, Gpu, obstacle, refusal
from trainer.run.replica_calls import use_xla
from trainer.settings.schema import DataSettings, TrainSettings
from trainer.text import load_tokenizer

RTX = Gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition", (12, 0))
H200 = Gpu("NVIDIA H200", (9, 0))
WHY = (
    "XLA cannot compile for NVIDIA RTX PRO 6000 Blackwell Server Edition (compute capability 12.0):"
    " that needs CUDA 12.8 or later, and the CUDA of TensorFlow 2.21.0 is 12.5"
)


@pytest.mark.parametrize(
    ("capability", "cuda", "needed"),
    [
        ((7, 5), (12, 5), None),
        ((9, 0), (12, 5), None),
        ((10, 0), (12, 5), "12.8"),
        ((10, 0), (12, 8), None),
        ((10, 3), (12, 8), "12.9"),
        ((12, 0), (12, 5), "12.8"),
        ((12, 0), (12, 7), "12.8"),
        ((12, 0), (12, 8), None),
        ((12, 0), (13, 0), None),
        ((12, 1), (12, 8), "12.9"),
        ((), (12, 5), None),  # another maker's
    ],
)
def test_a_gpu_needs_the_cuda_that_knows_it(capability, cuda, needed):
    said = obstacle([Gpu("A GPU", capability)], Build("2.21.0", cuda))
    assert (said and said.partition("needs CUDA ")[2].partition(" ")[0]) == needed


def test_one_gpu_of_several_is_enough():
    build = Build("2.21.0", (12, 5))
    assert obstacle([H200, RTX], build) == WHY
    assert obstacle([H200], build) is obstacle([], build) is None


@pytest.mark.parametrize(("setting", "refused"), [("on", 1), ("parts", 1), ("auto", 0), ("off", 0)])
def test_only_a_setting_that_insists_is_refused(setting, refused):
    assert refusal(setting, None) is None
    said = f"train.xla: {WHY}. Received '{setting}'. Set --train.xla=off, or auto, which leaves XLA"
    assert (refusal(setting, WHY) or "").startswith(said) == bool(refused)
    assert (refusal(setting, WHY) is None) == (not refused)


def test_the_releases_that_are_allowed_have_the_cuda_that_is_written_down():
    told = tf.sysconfig.get_build_info().get("cuda_version")
    if told is None:
        pytest.skip("a TensorFlow without CUDA, or that does not tell it")
    assert told.startswith(".".join(map(str, RELEASED.cuda)))
    assert tf.__version__.rpartition(".")[0] in RELEASED.version


def has_gpu(monkeypatch, gpu, kinds=("list_physical_devices", "list_logical_devices")):
    """TensorFlow says that the machine has such a GPU, beside what it has."""
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    facts = {"device_name": gpu.name, "compute_capability": gpu.capability}
    for name in kinds:
        real = getattr(tf.config, name)
        monkeypatch.setattr(
            tf.config,
            name,
            lambda kind=None, real=real: [device] if kind == "GPU" else real(kind),
        )
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: facts)
    built = {"cuda_version": "12.5.1"}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: built)
    monkeypatch.setattr(tf, "__version__", "2.21.0")


def test_a_machine_without_gpus_has_no_obstacle():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has one")
    assert xla.obstacle_here() is None


def test_what_tensorflow_tells_decides_of_auto(monkeypatch):
    has_gpu(monkeypatch, RTX)
    assert xla.obstacle_here() == WHY
    assert not use_xla(TrainSettings(xla="auto"))
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"cuda_version": "12.8.1"})
    assert xla.obstacle_here() is None and use_xla(TrainSettings(xla="auto"))
    monkeypatch.setattr(tf.sysconfig, "get_build_info", dict)  # tells nothing
    assert "is 12.5" in xla.obstacle_here()


def test_auto_compiles_on_a_gpu_that_xla_knows(monkeypatch):
    has_gpu(monkeypatch, H200)
    assert xla.obstacle_here() is None and use_xla(TrainSettings(xla="auto"))


@pytest.mark.parametrize("setting", ["on", "parts"])
@pytest.mark.parametrize("mode", ["train", "plan"])
def test_a_run_that_insists_ends_before_it_prepares(
    monkeypatch, tmp_path, toy_weights, capsys, mode, setting
):
    has_gpu(monkeypatch, RTX, kinds=("list_physical_devices",))
    data = toy.write_sentences(tmp_path / "train.jsonl", 16)
    config = toy.write_config(tmp_path, toy_weights, data, train={"steps": 2, "xla": setting})
    assert toy.run_main(config, tmp_path / "job", f"--mode={mode}") == 2
    said = capsys.readouterr().err
    assert f"error: train.xla: {WHY}. Received '{setting}'. Set --train.xla=off" in said
    assert not (tmp_path / "job" / "checkpoints").exists()


@pytest.mark.parametrize(("gpu", "compiles"), [(RTX, False), (H200, True)])
def test_a_run_by_auto_says_that_it_leaves_xla_out_and_does(
    monkeypatch, tmp_path, toy_weights, capsys, gpu, compiles
):
    """Adafactor's update is compiled even on a CPU, as it has no kernels."""
    has_gpu(monkeypatch, gpu, kinds=("list_physical_devices",))
    asked = []
    real = tf.function

    def function(*args, **options):
        asked.append(options.get("jit_compile", False))
        return real(*args, **options)

    monkeypatch.setattr(tf, "function", function)
    data = toy.write_sentences(tmp_path / "train.jsonl", 16)
    train = {"steps": 2, "optimizer": "adafactor"}
    config = toy.write_config(tmp_path, toy_weights, data, train=train)
    assert toy.run_main(config, tmp_path / "job") == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert (f"train.xla: off. {WHY}" in said) != compiles
    assert len(asked) > 1 and any(asked) == compiles


@pytest.mark.parametrize(("gpu", "compiles"), [(RTX, False), (H200, True)])
def test_texts_are_written_without_it_too(monkeypatch, tmp_path, gpu, compiles):
    has_gpu(monkeypatch, gpu, kinds=("list_physical_devices",))
    folder = toy.write_gpt2(tmp_path, layers=1)
    data = DataSettings(source="text", train="", seq_len=16)
    head = causal_lm.make_head(causal_lm.Settings(), data, load_tokenizer(folder))
    backbone, _ = huggingface.load_backbone(folder)
    graph = head.build(backbone, {"labels": []}, 0)
    assert graph.writer.many(2).compiled.compiled == compiles
