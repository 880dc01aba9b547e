"""Four virtual CPUs, and toy weights, data and runs that the tests share."""

import gc
import pathlib
from collections.abc import Iterator

import hypothesis
import pytest

from tests import balance, light, memory, toy
from tests.launcher import Launcher

# No test fails for the time that a busy machine takes.
hypothesis.settings.register_profile("without_a_deadline", deadline=None)
hypothesis.settings.load_profile("without_a_deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--light`, for `make check`."""
    parser.addoption("--light", action="store_true", help="only what needs no TensorFlow")
    parser.addoption("--measure", action="store_true", help="keep how long each file takes")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test file is imported: TensorFlow is refused, or gets its devices."""
    if config.getoption("measure") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(balance.Stopwatch())
    if config.getoption("light"):
        light.install(config)
    elif hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        four_virtual_cpus()  # in each process that runs tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For processes that end together."""
    balance.longest_first(items)


def pytest_collection_finish() -> None:
    """What was imported stays: Python need not look through it again for what is unused."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Behind each file, memory is let go: Python by itself seldom looks for what TensorFlow's
    graphs and functions hold of each other.
    """
    if nextitem is None or nextitem.path != item.path:
        memory.collect_where_much_was_taken()


def four_virtual_cpus() -> None:
    """Before TensorFlow's first op: a mirrored strategy needs devices."""
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
    )
    tf.config.list_logical_devices()  # made now: the first run would make as many as it asks for


@pytest.fixture(scope="session", autouse=True)
def quick_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """See `tests.quick_runs`."""
    if request.config.getoption("light"):
        yield
        return
    from tests.quick_runs import (
        leave_graphs_as_they_are,
        measure_a_small_peak,
        repeat_requests_soon,
        share_graphs,
        share_imports,
        share_tokenizers,
    )

    measure_a_small_peak()
    repeat_requests_soon()
    leave_graphs_as_they_are()
    with pytest.MonkeyPatch.context() as patch:
        share_tokenizers(patch)
        share_graphs(patch)
        share_imports(patch)
        yield


@pytest.fixture(scope="session")
def toy_weights(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A BERT of one layer with random weights."""
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights") / "bert", layers=1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, toy_weights: pathlib.Path) -> pathlib.Path:
    """The job_dir of a finished run on 128 sentences, with validation, test and a SavedModel.

    Not to be written to.
    """
    folder = tmp_path_factory.mktemp("trained")
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_sentences(folder / "train.jsonl", 128),
        data={"validation": 0.2, "test": 0.2},
        train={"steps": 30},
        export={"format": "savedmodel", "check_examples": 8},
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder / "job"


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """Starts the entry point in real processes, which a test may kill."""
    launched = Launcher()
    yield launched
    launched.close()
