"""What TensorBoard's HParams tab finds of a run, by the code of the tab itself."""

import pathlib

import pytest
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)

from tests import toy

pytestmark = pytest.mark.heavy


class Tab:
    """The tab of a folder with runs."""

    def __init__(self, folder: pathlib.Path) -> None:
        events = plugin_event_multiplexer.EventMultiplexer()
        events.AddRunsFromDirectory(str(folder))
        events.Reload()
        provider = data_provider.MultiplexerDataProvider(events, str(folder))
        self._board = backend_context.Context(base_plugin.TBContext(data_provider=provider))
        self._request = context.RequestContext()

    def settings(self):
        """The names of all hyperparameters."""
        asked = api_pb2.GetExperimentRequest()
        handler = get_experiment.Handler(self._request, self._board, "", asked)
        return {info.name for info in handler.run().hparam_infos}

    def groups(self):
        """The session groups."""
        asked = api_pb2.ListSessionGroupsRequest(
            start_index=0, slice_size=10, allowed_statuses=list(api_pb2.Status.values())
        )
        handler = list_session_groups.Handler(self._request, self._board, "", asked)
        return list(handler.run().session_groups)


def metrics_of(session):
    return {
        f"{metric.name.group}/{metric.name.tag}".lstrip("/"): (metric.training_step, metric.value)
        for metric in session.metric_values
    }


def test_a_run_is_a_session_with_its_settings_and_metrics(trained):
    (group,) = Tab(trained).groups()
    (session,) = group.sessions
    assert session.name == "logs" and session.status == api_pb2.STATUS_SUCCESS
    assert group.hparams["train.learning_rate"].number_value == 3e-3
    assert group.hparams["head.name"].string_value == "classification"
    metrics = metrics_of(session)
    results = toy.read_jsonl(trained / "metrics.jsonl")
    last = next(line for line in reversed(results) if line["split"] == "validation")
    assert metrics["validation/accuracy"] == (30, pytest.approx(last["accuracy"]))
    assert metrics["results/test/accuracy"][0] == 30
    assert "train/loss" in metrics and "results/validation/f1_macro" in metrics


def test_runs_stand_side_by_side_and_one_that_goes_on_is_one(toy_weights, tmp_path):
    config = toy.write_config(
        tmp_path, toy_weights, toy.write_sentences(tmp_path / "train.jsonl", 40)
    )
    runs = tmp_path / "runs"
    for job, rate in (("a", 1e-3), ("b", 2e-3), ("a", 1e-3)):
        assert toy.run_main(config, runs / job, f"--train.learning_rate={rate}") == 0
    tab = Tab(runs)
    assert {"train.learning_rate", "train.steps"} <= tab.settings()
    assert "data.cache_dir" not in tab.settings()
    groups = tab.groups()
    rates = sorted(group.hparams["train.learning_rate"].number_value for group in groups)
    assert rates == [1e-3, 2e-3]
    assert [len(group.sessions) for group in groups] == [1, 1]
