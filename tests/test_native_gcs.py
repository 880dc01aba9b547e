"""TensorFlow's own gs:// client, beside ours, through TLS and a CONNECT proxy: TFRecords and TFDS
stream, models and checkpoints are read in place.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from tests import toy
from tests.cloud import tls_cloud_storage

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

ROOT = pathlib.Path(__file__).resolve().parent.parent
SETUP = """
import pathlib, sys
from trainer.files import gcs
import tensorflow as tf, tensorflow_datasets as tfds
from tests import toy
gcs.client().create_bucket("bucket")
def records(count, seed):
    for row in toy.sentences(count, seed=seed):
        feature = {}
        for name in ("text", "label"):
            value = tf.train.BytesList(value=[row[name].encode()])
            feature[name] = tf.train.Feature(bytes_list=value)
        yield tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
for shard in range(2):  # written by TensorFlow itself
    with tf.io.TFRecordWriter(f"gs://bucket/records/{shard}.tfrecord") as writer:
        for record in records(40, shard):
            writer.write(record)

class Toy(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = {
            "text": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["neg", "pos"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, _):
        return {"train": self._generate_examples(60, 1), "test": self._generate_examples(20, 2)}
    def _generate_examples(self, count, seed):
        for row in toy.sentences(count, seed=seed):
            yield row["id"], {"text": row["text"], "label": row["label"]}
Toy(data_dir=sys.argv[1]).download_and_prepare()
for file in (path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file()):
    gcs.upload(file, f"gs://bucket/tfds/{file.relative_to(sys.argv[1])}", key="test")
"""
READ = """
import json, sys
import tensorflow as tf, tensorflow_text
serve = tf.saved_model.load("gs://bucket/job/model").signatures["serving_default"]
served = serve(text=tf.constant(["a great film", "an awful one"]))
weights = "gs://bucket/job/checkpoints/step_00000040/weights"
names = tf.train.load_checkpoint(weights).get_variable_to_shape_map()
labels = [label.decode() for label in served["label"].numpy().tolist()]
print(json.dumps({"label": labels, "variables": len(names)}))
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    with tls_cloud_storage(folder) as variables:
        environment = {
            **os.environ,
            **variables,
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(ROOT),
        }
        (folder / "build.py").write_text(SETUP)
        python(environment, str(folder / "build.py"), str(folder / "prepared"))
        yield folder, environment


def python(environment, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done


def config(folder, name, **data):
    values = toy.config_values(
        folder,
        toy.write_checkpoint(folder / "weights", layers=1),
        "unused",
        train={"steps": 40},
        export={"format": "savedmodel", "check_examples": 4},
    )
    values["data"] = {"seq_len": 32, **data}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return f"--config={folder / name}.yaml"


def run(launcher, cloud, *arguments, code=0):
    """What `python -m trainer.task` writes."""
    folder, environment = cloud
    log = folder / "log"
    launcher.start(*arguments, log=log, environment=environment)
    assert launcher.wait() == code, log.read_text()[-3000:]
    return log.read_text()


def test_records_stream_and_what_is_written_is_read_in_place(launcher, cloud):
    folder, environment = cloud
    given = config(
        folder, "records", source="tfrecord", train="gs://bucket/records/*.tfrecord", validation=0.2
    )
    said = run(launcher, cloud, given, "--job_dir=gs://bucket/job")
    assert "accuracy" in said and not list((folder / "cache").rglob("*.tfrecord"))
    found = json.loads(python(environment, "-c", READ).stdout.splitlines()[-1])
    assert found["label"] == ["pos", "neg"] and found["variables"] > 30
    again = run(launcher, cloud, given, "--job_dir=gs://bucket/again", "--mode=plan")
    assert "(encoded before)" in again  # by the checksums, without reading


def test_prepared_data_sets_are_read_in_place(launcher, cloud):
    folder, _ = cloud
    given = config(
        folder,
        "tfds",
        source="tfds",
        tfds_name="toy",
        tfds_data_dir="gs://bucket/tfds",
        train="train",
        test="test",
    )
    said = run(launcher, cloud, given, f"--job_dir={folder / 'tfds'}", "--export.format=none")
    assert "data: train 60, test 20 examples (encoded)" in said and "test: " in said


def test_what_is_not_there_is_named(launcher, cloud):
    folder, _ = cloud
    given = config(folder, "gone", source="tfrecord", train="gs://bucket/gone/*.tfrecord")
    said = run(launcher, cloud, given, f"--job_dir={folder / 'gone'}", code=2)
    assert (
        "data.train: there is no object 'gs://bucket/gone/*.tfrecord'. gs://bucket/ holds: " in said
    )
