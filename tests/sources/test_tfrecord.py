import gzip
import math
import struct

import pytest

from trainer.errors import DataError
from trainer.lazy import tf
from trainer.sources import open_source, require_field, tfrecord


def feature(values):
    if isinstance(values[0] if values else b"", bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def serialized(**fields):
    features = tf.train.Features(feature={name: feature(values) for name, values in fields.items()})
    return tf.train.Example(features=features).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            writer.write(record)


def source(path, **settings):
    return open_source(tfrecord.Settings(train=str(path), **settings), "train", str(path))


# more than two batches
RECORDS = [serialized(text=[f"é中{index}".encode()], label=[index]) for index in range(600)]


@pytest.mark.parametrize("name", ["x.tfrecord", "x.tfrecord.gz"])
def test_examples_are_read_back(tmp_path, name):
    write(tmp_path / name, RECORDS)
    texts = source(tmp_path / name)
    examples = list(texts.examples())
    assert [example.features for example in examples] == [
        {"text": f"é中{index}", "label": index} for index in range(600)
    ]
    assert str(examples[599].origin) == f"{tmp_path / name}:600"
    assert texts.progress() == texts.size() == (tmp_path / name).stat().st_size
    assert texts.label_names() is None


def test_progress_and_sharded_files(tmp_path):
    for shard in (1, 0):
        write(tmp_path / f"x-0000{shard}-of-00002", RECORDS[3 * shard : 3 * shard + 3])
    texts = source(tmp_path / "x-*")
    seen = [
        (example.features["label"], example.origin.line, texts.progress())
        for example in texts.examples()
    ]
    size = 16 + len(RECORDS[0])
    assert seen == [(index, index % 3 + 1, size * (index + 1)) for index in range(6)]
    assert (
        texts.fingerprint()
        == source(tmp_path / "x-*").fingerprint()
        != source(tmp_path / "x-00000*").fingerprint()
    )


def test_lists_and_missing_values(tmp_path):
    write(
        tmp_path / "x",
        [
            serialized(tokens=[b"a", b"b"], score=[0.5], none=[]),
            serialized(tokens=[b"a"], score=[0.5, 1.5]),
        ],
    )
    assert [example.features for example in source(tmp_path / "x").examples()] == [
        {"none": None, "score": 0.5, "tokens": ["a", "b"]},
        {"score": [0.5, 1.5], "tokens": "a"},
    ]
    assert [
        example.features
        for example in source(tmp_path / "x", list_fields=["tokens", "none"]).examples()
    ] == [{"none": [], "score": 0.5, "tokens": ["a", "b"]}, {"score": [0.5, 1.5], "tokens": ["a"]}]


def test_bytes_beside_the_text_may_be_anything(tmp_path):
    write(tmp_path / "x", [serialized(text=[b"a"], image=[b"\xff\xd8"])])
    assert next(source(tmp_path / "x").examples()).features == {"image": b"\xff\xd8", "text": "a"}


def refusal(path):
    seen = []
    with pytest.raises(DataError) as caught:
        seen.extend(example.features["label"] for example in source(path).examples())
    return str(caught.value)


def test_values_that_are_refused(tmp_path):
    write(tmp_path / "x", [RECORDS[0], serialized(text=[b"ab\xff"], label=[0])])
    text = refusal(tmp_path / "x")
    assert (
        f"{tmp_path}/x:2: field 'text' of record 2 is not UTF-8: byte 0xff at byte 2" in text
        and "Encode text as UTF-8" in text
    )


def test_a_missing_number_is_a_value_that_heads_judge(tmp_path):
    write(tmp_path / "x", [serialized(text=[b"a"], label=[float("nan")])])
    (found,) = source(tmp_path / "x").examples()
    assert math.isnan(found.features["label"])
    with pytest.raises(DataError, match="x:1: field 'label' is nan, not a number"):
        require_field(found, "label", "data.label")


def damaged(path, position=None, size=None):
    content = bytearray(path.read_bytes())
    if position is not None:
        content[position] ^= 0xFF
    path.write_bytes(content[:size])
    return path


@pytest.mark.parametrize("bad", [1, 300, 512])  # in the first, second and third batch
def test_damaged_and_truncated_records_are_named(tmp_path, bad):
    write(tmp_path / "x", RECORDS)
    start = sum(16 + len(record) for record in RECORDS[:bad])
    texts = source(damaged(tmp_path / "x", position=start + 14))
    seen = []
    with pytest.raises(DataError) as caught:
        seen.extend(example.features["label"] for example in texts.examples())
    assert seen == list(range(bad))  # everything before it
    assert f"x:{bad + 1}: record {bad + 1} cannot be read: corrupted record at" in str(caught.value)
    assert "damaged or cut short from there on" in str(caught.value)
    write(tmp_path / "x", RECORDS)
    assert f"record {bad + 1} cannot be read: truncated record" in refusal(
        damaged(tmp_path / "x", size=start + 20)
    )


def test_files_of_another_kind(tmp_path):
    (tmp_path / "x").write_text("text\tlabel\n" * 10)
    assert "x:1: record 1 cannot be read" in refusal(
        tmp_path / "x"
    ) and "check data.source" in refusal(tmp_path / "x")
    write(tmp_path / "y.gz", RECORDS)
    (tmp_path / "y").write_bytes((tmp_path / "y.gz").read_bytes())
    assert "It is gzip: let its name end in .gz" in refusal(tmp_path / "y")
    (tmp_path / "z.gz").write_bytes(gzip.decompress((tmp_path / "y").read_bytes()))
    assert "its name must not end in .gz" in refusal(tmp_path / "z.gz")
    write(tmp_path / "w", [b"no example"])
    assert "w:1: record 1 is not a tf.train.Example: it starts b'no example'" in refusal(
        tmp_path / "w"
    )
    lists = tf.train.FeatureLists(
        feature_list={"tokens": tf.train.FeatureList(feature=[feature([b"a"])])}
    )
    write(tmp_path / "v", [tf.train.SequenceExample(feature_lists=lists).SerializeToString()])
    assert "a SequenceExample looks so too" in refusal(tmp_path / "v")


def test_streams(tmp_path):
    """The file ends in a promise of a terabyte; the first examples come all the same."""
    write(tmp_path / "x", RECORDS)
    with (tmp_path / "x").open("ab") as file:
        file.write(struct.pack("<Q", 1 << 40) + b"\0\0\0\0")
    examples = source(tmp_path / "x").examples()
    assert [next(examples).features["label"] for _ in range(3)] == [0, 1, 2]


def masked_crc(data):
    """CRC-32C, bit by bit, as TFRecord's frames have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("length", [1 << 60, (1 << 64) - 1, 1 << 40, 100])
@pytest.mark.parametrize("name", ["x.tfrecord", "x.tfrecord.gz"])
def test_a_length_that_lies_with_a_right_checksum_ends_no_process(tmp_path, name, length):
    """TensorFlow takes the length at its word, and is killed by its own allocation."""
    write(tmp_path / name, RECORDS[:2])
    content = (
        (tmp_path / name).read_bytes()
        if name.endswith("d")
        else gzip.decompress((tmp_path / name).read_bytes())
    )
    header = struct.pack("<Q", length)
    content += header + struct.pack("<I", masked_crc(header)) + b"rest"
    (tmp_path / name).write_bytes(content if name.endswith("d") else gzip.compress(content))
    message = refusal(tmp_path / name)
    assert (
        f"{name}:3: record 3 cannot be read: truncated record: it announces {length:,} bytes, and"
        " the file ends before." in message
    )
    assert "The file is damaged or cut short from there on: copy or write it again." in message


def test_text_that_is_not_utf8_is_read_in_the_fallback(tmp_path):
    write(tmp_path / "x", [serialized(text=["Grüße".encode("latin-1")], label=["ä".encode()])])
    (example,) = source(tmp_path / "x", fallback_encoding="latin-1").examples()
    assert example.features == {"label": "ä", "text": "Grüße"}
