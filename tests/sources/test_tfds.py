import json
import pathlib
import shutil
import subprocess
import sys

import pytest

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

from trainer import sources  # noqa: E402
from trainer.errors import ConfigError, DataError  # noqa: E402
from trainer.sources import open_source, tfds  # noqa: E402

pytestmark = pytest.mark.heavy

ROOT = pathlib.Path(sources.__file__).parent.parent.parent

# Built by another process, as data sets usually are: what the source reads is the prepared folder
# alone.
BUILD = """
import sys
import tensorflow as tf, tensorflow_datasets as tfds

class ToyReviews(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        kind = tfds.features.ClassLabel(names=["PER", "LOC"])
        features = {
            "review": {"body": tfds.features.Text(), "stars": tf.int32},
            "label": tfds.features.ClassLabel(names=["pos", "neg"]),
            "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=["O", "B"])),
            "spans": tfds.features.Sequence({"start": tf.int32, "kind": kind}),
            "score": tf.float32,
            "good": tf.bool,
            "raw": tf.string,
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, _):
        return {"train": self._generate_examples(10), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {
                "review": {"body": f"é中{index}", "stars": index},
                "label": -1 if index == 3 else index % 2,
                "tags": ["B"] * (index % 3),
                "spans": [{"start": 1, "kind": "LOC"}] * (index % 2),
                "score": 0.5,
                "good": True,
                "raw": b"\\xff",
            }

ToyReviews(data_dir=sys.argv[1]).download_and_prepare()
"""


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    (folder / "build.py").write_text(BUILD)
    subprocess.run(
        [sys.executable, "build.py", str(folder)], check=True, cwd=folder, capture_output=True
    )
    return folder


def source(data_dir, spec, name="toy_reviews", **settings):
    chosen = tfds.Settings(train=spec, tfds_name=name, tfds_data_dir=str(data_dir), **settings)
    return open_source(chosen, "train", spec)


def bodies(examples):
    return [example.features["review.body"] for example in examples]


def test_features_are_plain_and_flat(data_dir):
    split = source(data_dir, "train", text="review.body")
    by_index = {example.features["review.stars"]: example.features for example in split.examples()}
    assert by_index[5] == {
        "review.body": "é中5",
        "review.stars": 5,
        "label": "neg",
        "tags": ["B", "B"],
        "spans.start": [1],
        "spans.kind": ["LOC"],
        "score": 0.5,
        "good": True,
        "raw": b"\xff",
    }
    assert by_index[3]["label"] is None and by_index[3]["tags"] == []
    json.dumps({key: value for key, value in by_index[5].items() if key != "raw"})  # no numpy left
    assert type(by_index[5]["good"]) is bool and type(by_index[5]["label"]) is str


def test_label_names_in_the_order_of_their_ids(data_dir):
    assert source(data_dir, "train").label_names() == ["pos", "neg"]
    assert source(data_dir, "train", label="spans.kind").label_names() == ["PER", "LOC"]
    assert source(data_dir, "train", label="score").label_names() is None


def test_splits_are_cut_and_joined_in_order(data_dir):
    train = bodies(source(data_dir, "train").examples())
    test = bodies(source(data_dir, "test").examples())
    assert (len(train), len(test)) == (10, 4)
    assert bodies(source(data_dir, "train[:80%]").examples()) == train[:8]
    assert bodies(source(data_dir, "train[2:5]").examples()) == train[2:5]
    assert bodies(source(data_dir, "train+test").examples()) == train + test
    assert bodies(source(data_dir, "train", name="toy_reviews:1.2.0").examples()) == train


def test_origins_name_the_record_of_the_file(data_dir):
    examples = list(source(data_dir, "train[8:]+test[1:3]").examples())
    assert [
        (pathlib.Path(example.origin.file).name, example.origin.line) for example in examples
    ] == [
        *(("toy_reviews-train.tfrecord-00000-of-00001", line) for line in (9, 10)),
        *(("toy_reviews-test.tfrecord-00000-of-00001", line) for line in (2, 3)),
    ]
    assert (
        bodies(examples)
        == bodies(source(data_dir, "train").examples())[8:]
        + bodies(source(data_dir, "test").examples())[1:3]
    )


def test_progress_and_size(data_dir):
    split = source(data_dir, "train[:3]")
    assert (split.size(), split.progress()) == (3, 0)
    assert [split.progress() for _ in split.examples()] == [1, 2, 3]


def test_the_fingerprint_follows_the_split(data_dir):
    prints = {
        spec: source(data_dir, spec).fingerprint()
        for spec in ("train", "test", "train[:5]", "train[5:]", "train+test")
    }
    assert len(set(prints.values())) == 5
    assert (
        source(data_dir, "train").fingerprint()
        == source(data_dir, "train[0:10]").fingerprint()
        == prints["train"]
    )


def test_text_that_is_not_utf8(data_dir):
    with pytest.raises(
        DataError,
        match=(
            r"toy_reviews-train.*:1: field 'raw' is not UTF-8: byte 0xff at byte 0 of .*Encode text"
            r" as UTF-8"
        ),
    ):
        next(source(data_dir, "train", text="raw").examples())


@pytest.mark.parametrize("spec", ["trian", "train[:80%", "train[:x]", ""])
def test_splits_that_are_refused(data_dir, spec):
    with pytest.raises(ConfigError) as caught:
        source(data_dir, spec)
    for part in (
        "data.train: toy_reviews/1.2.0 has no split",
        repr(spec),
        "train (10 examples), test (4 examples)",
        "train[:80%]",
    ):
        assert part in str(caught.value)


def test_names_that_are_refused(data_dir):
    with pytest.raises(ConfigError) as caught:
        source(data_dir, "train", name="toy_revews_x")
    for part in ("data.tfds_name", "'toy_revews_x'", str(data_dir), "tfds build"):
        assert part in str(caught.value) and len(str(caught.value)) < 600
    for name in ("toy_reviews:9.9.9", "glue/no_such", "a b", "://"):
        with pytest.raises(ConfigError, match=r"data.tfds_name: "):
            source(data_dir, "train", name=name)


def test_not_prepared_and_not_to_be_downloaded(data_dir, monkeypatch):
    def offline(self, **keywords):
        raise ConnectionError("Failed to establish a connection\nlong story")

    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(DataError) as caught:
        source(data_dir, "train", name="glue/sst2")
    for part in (
        "'glue/sst2' is not prepared in",
        str(data_dir),
        "Failed to establish a connection.",
        "tfds build glue/sst2",
        "data.tfds_data_dir",
    ):
        assert part in str(caught.value)
    assert "long story" not in str(caught.value)


def test_a_missing_package_is_named(data_dir, monkeypatch):
    def incomplete(self, **keywords):
        raise ModuleNotFoundError("No module named 'apache_beam'", name="apache_beam")

    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", incomplete)
    with pytest.raises(DataError, match=r"pip install apache_beam"):
        source(data_dir, "train", name="glue/sst2")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ConfigError, match=r"pip install tensorflow-datasets"):
        source(data_dir, "train")


def test_damaged_files(data_dir, tmp_path):
    shutil.copytree(data_dir / "toy_reviews", tmp_path / "toy_reviews")
    file = tmp_path / "toy_reviews" / "1.2.0" / "toy_reviews-train.tfrecord-00000-of-00001"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(
        DataError, match=r"'toy_reviews/1.2.0' cannot be read: .*remove and prepare them again"
    ):
        list(source(tmp_path, "train").examples())
