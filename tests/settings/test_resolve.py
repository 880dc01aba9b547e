"""From a file and flags to a config: round trips, origins, and messages that name every problem."""

import pathlib
import time

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trainer.errors import ConfigError
from trainer.run.job_config import is_as_begun
from trainer.settings import schema, sections
from trainer.settings.one_line_yaml import as_yaml
from trainer.settings.resolve import resolve
from trainer.settings.setting import Setting
from trainer.settings.suggestions import ELSEWHERE

MINIMAL = (
    "head: {name: classification}\nbackbone: {weights: w}\ndata: {source: jsonl, train: d.jsonl}\n"
)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
awkward = st.sampled_from(
    [
        "007",
        "yes",
        "no",
        "null",
        "~",
        "1e-5",
        "1_000",
        "2020-01-01",
        "0x1f",
        "1:30",
        "",
        " ",
        "a: b",
        "a #b",
        "- a",
        "%x",
        "@y",
        "'",
        '"',
        "\\",
        "\n",
        "a\nb",
        "\t",
        "今天",
        "é",
        "\ufeff",
        "\x85",
        "\u2028",
        "{",
        "[",
        "]",
        "x]",
        "!!python/object:os.system",
        "*a",
        "&a",
    ]
)
strings = text | awkward


def written(folder: pathlib.Path, content: str, name: str = "run.yaml") -> pathlib.Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


def problem(folder: pathlib.Path, content: str, overrides: dict | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(written(folder, content), overrides)
    return str(caught.value)


@given(
    value=strings
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(strings)
    | st.dictionaries(strings, st.floats(0.1, 9))
)
@example(["a", "b, c"])
@example({"a: b": 1.5})
def test_any_value_reads_back_from_its_line(value):
    assert yaml.safe_load(
        f"section:\n  key: {as_yaml(value)}  # configs/x.yaml:3\n  next: 1\n"
    ) == {"section": {"key": value, "next": 1}}


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    labels=st.none() | st.lists(strings, min_size=1, max_size=3),
    weights=st.none() | st.just("balanced") | st.dictionaries(strings, st.floats(1e-6, 9)),
    separator=strings.filter(bool),
    path=strings,
    pair=strings | st.lists(strings, min_size=1, max_size=2),
    rate=st.floats(1e-9, 10),
    validation=st.none() | st.floats(0.001, 0.999) | strings,
    clip=st.none() | st.floats(0.01, 5),
)
def test_the_resolved_config_reads_back_to_the_same_config(
    tmp_path, labels, weights, separator, path, pair, rate, validation, clip
):
    overrides = {
        ("head", "labels"): labels,
        ("head", "class_weights"): weights,
        ("head", "label_separator"): separator,
        ("data", "train"): path,
        ("data", "text"): pair,
        ("train", "learning_rate"): rate,
        ("data", "validation"): validation,
        ("train", "clip_norm"): clip,
    }
    first = resolve(
        written(tmp_path, MINIMAL),
        {key: Setting(value, "--flag") for key, value in overrides.items()},
    )
    again = resolve(written(tmp_path, first.to_yaml(), "config.yaml"))
    assert again.config == first.config


def test_the_resolved_config_says_where_each_value_comes_from(tmp_path):
    file = written(tmp_path, MINIMAL + "train:\n  epochs: 2\n  # a comment\n  seed: 5\n")
    lines = resolve(file, {("train", "seed"): Setting(7, "--train.seed")}).to_yaml().splitlines()
    assert f"  epochs: 2.0  # {file}:5" in lines
    assert "  seed: 7  # --train.seed" in lines
    assert "  beta_1: 0.9  # default" in lines
    assert f"  weights: w  # {file}:2" in lines


def test_all_problems_come_in_one_message_each_with_its_place(tmp_path):
    message = problem(
        tmp_path,
        """head: {name: classificaton}
backbone: {weigths: w}
data: {source: jsonl, train: d.jsonl, seq_len: 3}
trian: {epochs: 1}
train:
  learning_rate: fast
  schedule: lineer
  epoch: 2
  seed: 1
  seed: 2
""",
    )
    lines = message.splitlines()
    assert lines[0] == "9 problems in the configuration:"
    for part in (
        (
            "head.name: expected one of causal_lm, classification, masked_lm, prompt,"
            " question_answering, text_generation, token_classification. Received"
            " 'classificaton' ("
        ),
        "run.yaml:1). Did you mean classification?",
        "backbone.weigths: unknown key (",
        "run.yaml:2). Did you mean backbone.weights?",
        "backbone.weights: missing. Expected text: checkpoint in Hugging Face's format",
        "data.seq_len: expected integer >= 4. Received 3 (",
        "trian: unknown section (",
        "run.yaml:4). Did you mean train?",
        "train.learning_rate: expected number > 0, <= 10. Received 'fast' (",
        "train.schedule: expected one of linear, cosine, constant. Received 'lineer' (",
        "train.epoch: unknown key (",
        "Did you mean train.epochs?",
        "train.seed: given twice (",
    ):
        assert part in message
    assert f"({tmp_path / 'run.yaml'}:9 and {tmp_path / 'run.yaml'}:10). Keep one." in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("train: {weights: x}", "train.weights: unknown key"),
        ("train: {weights: x}", "Did you mean backbone.weights?"),
        ("train: {seq_len: 5}", "Did you mean data.seq_len?"),
        ("epochs: 3", "epochs: unknown section"),
        ("epochs: 3", "Did you mean train.epochs?"),
        ("train: {zzzzzz: 5}", "train.zzzzzz: unknown key"),
        ("train: {Batch_Size: 5}", "Did you mean train.global_batch_size?"),
        ("data: {source: squad, train: d, doc_stride: 5}", "data.doc_stride: unknown key ("),
        ("train: {stride: 5}", "Did you mean data.window_overlap?"),
        ("train: 5", "train: expected a section with keys. Received 5 ("),
        ("train: [1, 2]", "train: expected a section with keys. Received [1, 2] ("),
        ("train: {epochs: [1]}", "train.epochs: expected number > 0 or null. Received [1] ("),
        ("train: {epochs: .nan}", "train.epochs: expected number > 0 or null. Received nan ("),
        ("train: {steps: 1.5}", "train.steps: expected integer >= 1 or null. Received 1.5 ("),
        (
            "train: {global_batch_size: 0}",
            "train.global_batch_size: expected integer >= 1. Received 0 (",
        ),
        (
            "train: {steps: 5, epochs: 2}",
            "train.epochs: give epochs or steps, not both. Received epochs 2 and steps 5.",
        ),
        (
            "train: {early_stopping_patience: 2}",
            "train.early_stopping_patience: needs data.validation",
        ),
        (
            "train: {micro_batches: 33}",
            (
                "train.micro_batches: expected at most 32, the examples of a step"
                " (train.global_batch_size). Received 33."
            ),
        ),
        (
            "head: {name: question_answering, max_answer_tokens: 1000000}",
            (
                "head.max_answer_tokens: expected at most 128, the tokens of a row (data.seq_len)."
                " Received 1,000,000."
            ),
        ),
        (
            "head: {name: question_answering, n_best: 100000}",
            "head.n_best: expected at most 10,000.",
        ),
        ("train: {best_metric: accuracy}", "train.best_metric: needs data.validation"),
        (
            "head: {name: prompt, pattern: '{text} {mask}', label_words: {yes: good, no: bad}}",
            "Received {True: 'good', False: 'bad'} (",
        ),
        (
            "head: {name: prompt, pattern: '{text} {mask}', label_words: {a: on, b: bad}}",
            "YAML reads yes, no, on and off as true and false: put them in quotes.",
        ),
        (
            "backbone: {freeze_embeddings: maybe}",
            "backbone.freeze_embeddings: expected true or false. Received 'maybe' (",
        ),
    ],
)
def test_a_problem_is_named_with_what_is_allowed(tmp_path, content, expected):
    sections = {
        "backbone": "backbone: {weights: w}",
        "data": "data: {source: jsonl, train: d}",
        "head": "head: {name: classification}",
    }
    sections.pop(content.split(":")[0], None)
    assert expected in problem(tmp_path, "\n".join([*sections.values(), content]) + "\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "data: {source: text, train: d, stream_characters: 5000, validation: 0.2, limit: 5}",
            (
                "data.stream_characters: how many steps a pass has is not known beforehand. Set"
                " train.steps."
            ),
        ),
        (
            "data: {source: text, train: d, stream_characters: 5000, validation: 0.2, limit: 5}",
            (
                "data.stream_characters: a fraction of train cannot be held out of what is not read"
                " beforehand. Name files in data.validation and data.test."
            ),
        ),
        (
            "data: {source: text, train: d, stream_characters: 5000, validation: 0.2, limit: 5}",
            "data.stream_characters: data.limit is of what is stored.",
        ),
        (
            (
                "data: {source: text, train: d, stream_characters: 5000, validation: v}\ntrain:"
                " {best_metric: loss, steps: 5}"
            ),
            (
                "data.stream_characters: an early stop or a best checkpoint needs evaluations on"
                " the way. Set train.evaluate_every_steps."
            ),
        ),
        (
            "data: {source: jsonl, train: d, validation: 0.6, test: 0.5}",
            "the fractions held out of train must sum to less than 1. Received 1.1.",
        ),
        (
            "data: {source: jsonl, train: d, validation: 0.25, test: 0.75}",
            "the fractions held out of train must sum to less than 1. Received 1.",
        ),
        (
            "data: {source: jsonl, train: d, validation: 1.5}",
            "data.validation: expected number > 0, < 1 or text or null. Received 1.5 (",
        ),
        ("data: {source: jsonl, train: d, header: true}", "data.header: unknown key"),
        ("data: {source: jsonl, train: d, header: true}", "It belongs to source csv, tsv."),
        (
            "data: {train: d}",
            (
                "data.source: missing. Expected one of conll, csv, folders, jsonl, managed_dataset,"
                " parallel, squad, text, tfds, tfrecord, tsv."
            ),
        ),
        (
            "data: {source: [jsonl], train: d}",
            (
                "data.source: expected one of conll, csv, folders, jsonl, managed_dataset,"
                " parallel, squad, text, tfds, tfrecord, tsv. Received ['jsonl']"
            ),
        ),
        (
            "data: {source: jsonl, train: d, text: [a, b, c]}",
            "data.text: expected text or list of text. Received ['a', 'b', 'c'] (",
        ),
    ],
)
def test_a_problem_of_the_data_section_is_named(tmp_path, content, expected):
    assert expected in problem(
        tmp_path, f"head: {{name: classification}}\nbackbone: {{weights: w}}\n{content}\n"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"train: [1,\n", "run.yaml:2: not valid YAML"),
        (b"- a\n- b\n", "run.yaml:1: expected sections (head, backbone, data, train"),
        (
            "train: {epochs: 1}  # 文字".encode("gb18030"),
            (
                "run.yaml:1: not UTF-8 (byte 0xce). Read as GB18030 the line is 'train: {epochs: 1}"
                "  # 文字'. If that is right: iconv -f GB18030 -t UTF-8 "
            ),
        ),
        (
            b"train: {epochs: \x07}\n",
            "run.yaml:1: not valid YAML: the character U+0007 is not allowed.",
        ),
        (
            b"train: {epochs: 2020-13-45}\n",
            "train.epochs: expected number > 0 or null. Received '2020-13-45' (",
        ),
        (
            b"train:\n  epochs: !!python/object/apply:os.system ['exit 3']\n",
            "run.yaml:2: not a plain YAML value",
        ),
        (b"train: !!python/object:x.Y {epochs: 2}\n", "run.yaml:1: not a plain YAML value"),
        (b"!!python/object:x.Y\ntrain: {epochs: 2}\n", "Tags are not read."),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused_at_its_line(tmp_path, content, expected):
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        resolve(file)
    assert expected in str(caught.value) and str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("data: {source: [tsv], train: d}", "Received ['tsv'] ("),
        ("data: {source: {a: b}, train: d}", "Received {'a': 'b'} ("),
        ("train.epochs: 3", "train.epochs: unknown section ("),
        ("train.epochs: 3", "Without the dot: train: {epochs: …}."),
        ("train:\n  epochs： 3", "train: expected a section with keys. Received 'epochs： 3' ("),
        ("train:\n  epochs： 3", "It has a full-width colon (：)"),
        ("train:\n  epochs = 3", "Write ': ' in place of '='."),
        ("train:\n  epochs:3", "After the colon goes a blank."),
        ("ｔｒａｉｎ: {epochs: 3}", "Did you mean train?"),
        ('"tr\\e[2Jain": {}', r"tr\x1b[2Jain: unknown section ("),
        ('train: {"\\u202eepochs": 3}', r"train.\u202eepochs: unknown key ("),
        ("train: {seed: !!bool 7}", "train.seed: not a plain value: '7' is neither true"),
        ("? [a]\n: b", "the config: a key must be a name, not a list or a mapping ("),
        ("train: &t {epochs: 1}\nplan: {<<: *t}", "plan: merge keys (<<) are not read."),
        ("data: {source: csv, train: d, header: maybe}", "data.header: expected true or false"),
        ("train: {precision: yes}", "put them in quotes."),
    ],
)
def test_odd_yaml_is_one_problem_among_the_others(tmp_path, content, expected):
    sections = {
        "backbone": "backbone: {weights: w}",
        "data": "data: {source: jsonl, train: d}",
        "head": "head: {name: classification}",
    }
    sections.pop(content.split(":")[0], None)
    message = problem(
        tmp_path,
        "\n".join(
            [*sections.values(), content, "plan: {xlaa: true}" if "plan" not in content else ""]
        )
        + "\n",
    )
    assert expected in message and ("plan.xlaa: unknown key" in message or "plan" in content)


def test_the_first_of_thousands_of_problems_are_told(tmp_path):
    start = time.perf_counter()
    message = problem(
        tmp_path, MINIMAL + "train:\n" + "".join(f"  key_{number}: 1\n" for number in range(3000))
    )
    # each problem looked up in all others would take minutes
    assert time.perf_counter() - start < 20
    assert message.startswith("3,000 problems in the configuration:\n  train.key_0: unknown key (")
    assert message.count("\n") == 21 and message.endswith("\n  and 2,980 more")


def test_fractions_held_out_leave_something_of_train(tmp_path):
    data = "data: {{source: jsonl, train: d.jsonl, validation: 0.5, test: {test}}}"
    start = MINIMAL[: MINIMAL.index("data:")]
    assert (
        "data.validation + data.test: the fractions held out of train must sum to less than 1."
        " Received 1."
    ) in problem(tmp_path, start + data.format(test=0.5))
    assert resolve(written(tmp_path, start + data.format(test=0.49))).config.data.test == 0.49


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    message = problem(tmp_path, "# nothing yet\n")
    assert "run.yaml: has no settings." in message and "head.name: missing." in message


def test_labels_and_words_are_read_as_written_and_a_choice_may_be_on(tmp_path):
    content = (
        MINIMAL.replace("classification}", "classification, labels: [010, 1.50, 1e3, 2020-01-01]}")
        + "train: {xla: on}\n"
    )
    config = resolve(written(tmp_path, content)).config
    assert config.head.labels == ["010", "1.50", "1e3", "2020-01-01"]
    assert config.train.xla == "on"


def test_a_file_name_cannot_break_the_resolved_config(tmp_path):
    file = written(tmp_path, MINIMAL, "a\nb: [.yaml")
    text = resolve(file).to_yaml()
    assert resolve(written(tmp_path, text, "again.yaml")).config == resolve(file).config


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path):
    written(tmp_path, MINIMAL, "quickstart.yaml")
    with pytest.raises(
        ConfigError, match=r"quickstrat\.yaml: no such file\. Did you mean .*quickstart\.yaml\?"
    ):
        resolve(tmp_path / "quickstrat.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve(tmp_path)


def test_text_that_looks_like_a_number_stays_text_and_numbers_become_text(tmp_path):
    config = resolve(
        written(tmp_path, MINIMAL.replace("d.jsonl}", "'007', label: 1, text: [a, 2]}"))
    ).config
    assert (config.data.train, config.data.label, config.data.text) == ("007", "1", ["a", "2"])


def test_a_byte_order_mark_is_no_content(tmp_path):
    assert resolve(written(tmp_path, "\ufeff" + MINIMAL)).config.data.train == "d.jsonl"


def test_true_and_false_are_no_numbers_and_no_text(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "head: {name: classification, dropout: false}\nbackbone: {weights: x, freeze_embeddings:"
        " true}\ndata: {source: jsonl, train: x, seq_len: true, label: true}\ntrain: {epochs:"
        " true}\n"
    )
    with pytest.raises(ConfigError) as refused:
        resolve(file, {})
    said = str(refused.value)
    for line in (
        "head.dropout: expected number >= 0, < 1 or null. Received False",
        "data.seq_len: expected integer >= 4. Received True",
        "data.label: expected text or list of text. Received True",
        "train.epochs: expected number > 0 or null. Received True",
    ):
        assert line in said
    assert said.count("Received") == 4


def test_names_of_other_libraries_lead_to_settings_that_are_there():
    known = {
        f"{section}.{field}"
        for section in schema.Config.model_fields
        for cls in sections.section_classes(section).values()
        for field in cls.model_fields
    }
    assert set(ELSEWHERE.values()) <= known and not set(ELSEWHERE) & {
        name.partition(".")[2] for name in known
    }


MOVED = "head: {name: causal_lm, target: en, judged_by: zh, prompt: 'a {text}'}\n"
REST = "backbone: {weights: w}\ndata: {source: jsonl, train: d}\n"


def test_a_key_that_moved_to_another_head_is_answered_with_its_name(tmp_path):
    (tmp_path / "run.yaml").write_text(MOVED + REST)
    with pytest.raises(ConfigError) as raised:
        resolve(tmp_path / "run.yaml")
    for key, value in (("target", "en"), ("judged_by", "zh")):
        assert (
            f"head.{key}: is of head text_generation now, and no longer of head causal_lm."
            f" Received '{value}' ({tmp_path}/run.yaml:1). Set --head.name=text_generation, or"
            " leave it out."
        ) in str(raised.value)
    flags = {("head", "name"): Setting("text_generation", "--head.name")}
    head = resolve(tmp_path / "run.yaml", flags).config.head
    assert (head.name, head.target, head.judged_by) == ("text_generation", "en", "zh")


def test_the_config_of_an_old_run_that_did_not_use_a_moved_key_is_read(tmp_path):
    old = "head: {name: causal_lm, target: null, judged_examples: 500, judged_by: 13a}\n"
    (tmp_path / "run.yaml").write_text(old + REST)
    config = resolve(tmp_path / "run.yaml").config
    begun = config.model_dump()
    begun["head"] |= {"target": None, "judged_examples": 500, "judged_by": "13a"}
    assert is_as_begun(tmp_path / "run.yaml", begun)
    begun["head"] |= {"judged_examples": 400}
    assert not is_as_begun(tmp_path / "run.yaml", begun)


def test_a_setting_that_there_was_not_yet_had_its_default(tmp_path):
    """Runs of an earlier version go on where a later one has more settings."""
    file = written(tmp_path, MINIMAL)
    begun = resolve(file).config.model_dump()

    def without(section, key):
        return {**begun, section: {k: v for k, v in begun[section].items() if k != key}}

    for section, key in (("train", "moments"), ("head", "calibrate"), ("export", "version")):
        assert is_as_begun(file, without(section, key))
    assert is_as_begun(file, {key: of for key, of in begun.items() if key != "log"})
    other = written(tmp_path, MINIMAL + "train: {seed: 7}\n", "other.yaml")
    assert not is_as_begun(other, without("train", "seed"))
