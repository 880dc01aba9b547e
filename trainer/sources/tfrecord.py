"""TFRecord files of tf.train.Example (gzip when the name ends in .gz), fields by name."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from pydantic import Field

from trainer.errors import DataError
from trainer.files import gcs, mirror
from trainer.files.gcs import RemoteObject
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example, FieldValue, Origin, Source, setting_of, text_fields
from trainer.sources._files import files_of, fingerprint, relative_names
from trainer.sources._tfrecord_frames import whole_records

FRAME_BYTES = 16  # around each record: its length, and two checksums
BUFFER_BYTES = 8 << 20  # of a read ahead: as much as a request to gs:// should be
GZIP_MARK = b"\x1f\x8b"
BATCH_RECORDS = 256  # one by one, crossing from TensorFlow to Python costs more than reading


File: TypeAlias = pathlib.Path | RemoteObject


class Settings(DataSettings):
    """The data section for TFRecord files."""

    source: Literal["tfrecord"] = Field("tfrecord", description="files of tf.train.Example")
    list_fields: list[str] = Field(
        [], description="fields that are lists even where they hold one value or none"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of TFRecord files.

    A field with one value is that value, with several a list, with none None; a field of
    `list_fields` always is a list. See `trainer.sources.open_source`.
    """
    # TensorFlow streams from gs:// itself, and each record has a checksum of its own: nothing is
    # copied here.
    files: Sequence[File]
    if spec.startswith(mirror.SCHEME):
        files = gcs.find(spec, key=setting_of(split))
    else:
        files = files_of(spec, split)
    return TFRecordSource(
        files,
        {*text_fields(settings), *settings.label_fields},
        set(settings.list_fields),
        settings.fallback_encoding,
    )


class TFRecordSource:
    """A Source over TFRecord files, read one after the other."""

    def __init__(
        self,
        files: Sequence[File],
        text_fields: set[str],
        list_fields: set[str],
        fallback_encoding: str | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            files: in order.
            text_fields: where bytes have to be text, and numbers finite.
            list_fields: lists whatever they hold.
            fallback_encoding: of text that is not UTF-8.
        """
        self._files = files
        self._fallback_encoding = fallback_encoding
        self._text_fields = text_fields
        self._list_fields = list_fields
        self._finished = 0  # bytes of whole files
        self._position = 0  # bytes of the file being read

    def examples(self) -> Iterator[Example]:
        """The examples of all files; see `Source`."""
        self._finished = self._position = 0
        for file in self._files:
            name = str(file)
            for number, record in enumerate(_records(file), 1):
                # How far a compressed file was read is not to be had: it counts when it is done.
                if not name.endswith(".gz"):
                    self._position += FRAME_BYTES + len(record)
                origin = Origin(name, number)
                yield Example(self._features(record, origin), origin)
            self._position = 0
            self._finished += _size(file)

    def fingerprint(self) -> str:
        """Of contents, relative names and settings; see `Source`."""
        settings = {
            "source": "tfrecord",
            "list_fields": sorted(self._list_fields),
            "text_fields": sorted(self._text_fields),
            "fallback_encoding": self._fallback_encoding,
        }
        local = [file for file in self._files if isinstance(file, pathlib.Path)]
        names = relative_names(local) if local else list(map(str, self._files))
        return fingerprint(zip(names, self._files, strict=True), settings)

    def label_names(self) -> None:
        """The files declare no labels."""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(map(_size, self._files))

    def progress(self) -> int:
        """Bytes on disk read so far."""
        return self._finished + self._position

    def _features(self, record: bytes, origin: Origin) -> dict[str, FieldValue]:
        try:
            stored = tf.train.Example.FromString(record).features.feature
        # the class of a decoding error differs between the implementations of protobuf
        except Exception:
            raise DataError(
                f"{origin}: record {origin.line} is not a tf.train.Example: it starts"
                f" {record[:20]!r}. Write the file with tf.train.Example(…).SerializeToString()."
            ) from None
        if not stored and record:
            raise DataError(
                f"{origin}: record {origin.line} is a tf.train.Example without features; a"
                " SequenceExample looks so too. Write each example as a tf.train.Example; repeated"
                " values fit into one feature."
            )
        return {name: self._value(name, stored[name], origin) for name in sorted(stored)}

    def _value(self, field: str, feature: "tf.train.Feature", origin: Origin) -> FieldValue:
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        if kind == "bytes_list":
            values = [self._text(field, value, origin) for value in values]
        if field in self._list_fields or len(values) > 1:
            return values
        return values[0] if values else None

    def _text(self, field: str, value: bytes, origin: Origin) -> str | bytes:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            # an image beside the text may stay what it is, unused
            if field not in self._text_fields:
                return value
            with contextlib.suppress(UnicodeDecodeError):
                if self._fallback_encoding is not None:
                    return value.decode(self._fallback_encoding)
            raise DataError(
                f"{origin}: field {field!r} of record {origin.line} is not UTF-8: byte"
                f" 0x{value[error.start]:02x} at byte {error.start} of {value[:30]!r}. Encode text"
                " as UTF-8 when the file is written, or set data.fallback_encoding to its"
                " encoding."
            ) from None


def _size(file: File) -> int:
    return file.size if isinstance(file, RemoteObject) else file.stat().st_size


def _records(file: File) -> Iterator[bytes]:
    """The records of a file.

    Raises:
        DataError: one of them is damaged, or cut short.
    """
    name = str(file)
    dataset = tf.data.TFRecordDataset(
        name, compression_type="GZIP" if name.endswith(".gz") else "", buffer_size=BUFFER_BYTES
    )
    announced = None
    if isinstance(file, pathlib.Path):
        whole, announced = whole_records(file)
        if announced is not None:
            dataset = dataset.take(whole)
    number = 0
    try:
        try:
            for batch in dataset.batch(BATCH_RECORDS).as_numpy_iterator():
                number += len(batch)
                yield from batch
        # somewhere in the batch: once more, one by one, up to the bad record
        except tf.errors.OpError:
            for record in dataset.skip(number).as_numpy_iterator():
                number += 1
                yield record
            raise
    except tf.errors.OpError as error:
        raise _unreadable(name, number, str(error.message)) from None
    if announced is not None:
        raise _unreadable(
            name,
            number,
            f"truncated record: it announces {announced:,} bytes, and the file ends before",
        )


def _unreadable(name: str, number: int, message: str) -> DataError:
    """The error for a record.

    Args:
        name: of the file.
        number: how many records were read before it.
        message: TensorFlow's.
    """
    reason = message.split(" [Op:")[0].split("}} ")[-1]
    is_gzip = _starts_with(name, GZIP_MARK)
    named_gzip = name.endswith(".gz")
    remedy = "It is damaged, or no TFRecord file: check data.source."
    if number:
        remedy = "The file is damaged or cut short from there on: copy or write it again."
    elif is_gzip and not named_gzip:
        remedy = "It is gzip: let its name end in .gz."
    elif named_gzip and not is_gzip:
        remedy = "It is not gzip: its name must not end in .gz."
    return DataError(f"{name}:{number + 1}: record {number + 1} cannot be read: {reason}. {remedy}")


def _starts_with(name: str, mark: bytes) -> bool:
    try:
        with tf.io.gfile.GFile(name, "rb") as file:
            return file.read(len(mark)) == mark
    except (OSError, tf.errors.OpError):
        return False
