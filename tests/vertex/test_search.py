"""--tune and --goal as a StudySpec that the API takes; what no setting allows is refused."""

import pytest

from tests import toy
from trainer.errors import ConfigError
from trainer.settings.resolve import resolve
from trainer.vertex import search
from trainer.vertex.service import as_message


@pytest.fixture
def config(tmp_path):
    return resolve(
        toy.write_config(
            tmp_path,
            tmp_path,
            "train.jsonl",
            data={"validation": 0.1},
            train={"best_metric": "accuracy"},
        )
    ).config


def test_ranges_and_choices_become_parameters(config):
    study = search.study_spec(
        "learning_rate:1e-5..1e-4:log, head.dropout:0..0.3,train.steps:100..200,"
        "train.global_batch_size:16|32|64,optimizer:adamw|adafactor",
        "maximize:validation.accuracy",
        config,
    )
    assert study["parameters"] == [
        {
            "parameterId": "train.learning_rate",
            "doubleValueSpec": {"minValue": 1e-5, "maxValue": 1e-4},
            "scaleType": "UNIT_LOG_SCALE",
        },
        {
            "parameterId": "head.dropout",
            "doubleValueSpec": {"minValue": 0.0, "maxValue": 0.3},
            "scaleType": "UNIT_LINEAR_SCALE",
        },
        {
            "parameterId": "train.steps",
            "integerValueSpec": {"minValue": "100", "maxValue": "200"},
            "scaleType": "UNIT_LINEAR_SCALE",
        },
        {
            "parameterId": "train.global_batch_size",
            "discreteValueSpec": {"values": [16.0, 32.0, 64.0]},
            "scaleType": "UNIT_LINEAR_SCALE",
        },
        {
            "parameterId": "train.optimizer",
            "categoricalValueSpec": {"values": ["adamw", "adafactor"]},
        },
    ]
    assert (
        study["metrics"] == [{"metricId": "validation.accuracy", "goal": "MAXIMIZE"}]
        and study["measurementSelectionType"] == "BEST_MEASUREMENT"
    )
    job = {
        "displayName": "a",
        "studySpec": study,
        "maxTrialCount": 4,
        "parallelTrialCount": 2,
        "trialJobSpec": {},
    }
    assert (
        as_message("HyperparameterTuningJob", job)
        .study_spec.parameters[0]
        .double_value_spec.max_value
        == 1e-4
    )


@pytest.mark.parametrize(
    ("tune", "goal", "message"),
    [
        (
            "learning_rat:1e-5..1e-4",
            "maximize:validation.accuracy",
            "--tune: unknown setting 'learning_rat'. Did you mean train.learning_rate?",
        ),
        (
            "train.learning_rate",
            "maximize:validation.accuracy",
            "--tune: 'train.learning_rate': no values. Expected SETTING:LOW..HIGH[:SCALE]",
        ),
        (
            "learning_rate:1e-4..1e-5",
            "maximize:validation.accuracy",
            (
                "--tune: train.learning_rate:1e-4..1e-5: expected LOW..HIGH, two numbers, the lower"
                " first"
            ),
        ),
        (
            "head.dropout:0..0.3:log",
            "maximize:validation.accuracy",
            "--tune: head.dropout:0..0.3:log: a log scale begins above 0.",
        ),
        (
            "learning_rate:1e-5..1e-4:exp",
            "maximize:validation.accuracy",
            "unknown scale 'exp'. Expected one of linear, log, reverse_log.",
        ),
        (
            "head.dropout:0..1.5",
            "maximize:validation.accuracy",
            "--tune: head.dropout:0..1.5: head.dropout accepts ",
        ),
        (
            "optimizer:adamw|adam9",
            "maximize:validation.accuracy",
            "train.optimizer accepts one of ",
        ),
        ("optimizer:adamw|adam9", "maximize:validation.accuracy", "'adam9'"),
        (
            "learning_rate:1e-5..1e-4,train.learning_rate:1|2",
            "maximize:validation.accuracy",
            "--tune: train.learning_rate is given twice.",
        ),
        (
            "learning_rate:1e-5..1e-4",
            "accuracy",
            (
                "--goal: expected maximize:validation.METRIC or minimize:validation.METRIC, such as"
                " maximize:validation.accuracy. Received 'accuracy'."
            ),
        ),
        (
            "learning_rate:1e-5..1e-4",
            "maximize:validation.bleu",
            (
                "--goal: validation.bleu is measured while training only where the checkpoint is"
                " picked by one of bleu, chrf, rouge1, rouge2, rouge_l. Set"
                " --train.best_metric=bleu."
            ),
        ),
    ],
)
def test_what_cannot_be_searched_is_named(config, tune, goal, message):
    with pytest.raises(ConfigError) as caught:
        search.study_spec(tune, goal, config)
    assert message in str(caught.value)


def test_a_search_needs_validation_data(config):
    without = config.model_copy(
        update={"data": config.data.model_copy(update={"validation": None})}
    )
    with pytest.raises(
        ConfigError, match=r"data.validation: missing. A search compares trials by it"
    ):
        search.study_spec("learning_rate:1e-5..1e-4", "maximize:validation.accuracy", without)


def test_a_trial_is_set_by_flags_as_the_platform_writes_them():
    """Flag, space, value; also for settings that are true or false."""
    from trainer.settings import flags

    given = flags.parse(
        [
            "task",
            "--config=c",
            "--train.learning_rate",
            "3e-05",
            "--train.global_batch_size",
            "16.0",
            "--backbone.freeze_embeddings",
            "false",
        ]
    )
    values = {key: setting.value for (_, key), setting in given.overrides.items()}
    assert values == {"learning_rate": 3e-05, "global_batch_size": 16.0, "freeze_embeddings": False}
