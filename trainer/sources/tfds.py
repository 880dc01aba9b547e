"""TensorFlow Datasets, by name and split.

Also those prepared elsewhere, read from their folder alone.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.errors import ConfigError, DataError
from trainer.files import gcs, mirror
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example, FieldValue, Origin, Source, setting_of, text_fields
from trainer.sources._files import fingerprint

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_DAMAGED = (
    "Its prepared files are damaged or of a kind this TFDS cannot read: remove and prepare them"
    " again."
)


class Settings(DataSettings):
    """The data section for TensorFlow Datasets."""

    source: Literal["tfds"] = Field(
        "tfds",
        description=(
            "TensorFlow Datasets; train, validation and test are its splits, like train[:80%]"
        ),
    )
    tfds_name: str = Field(min_length=1, description="name[/config][:version], like glue/sst2")
    tfds_data_dir: str | None = Field(
        None, description="folder of prepared data sets; null: ~/tensorflow_datasets"
    )

    @property
    def public_name(self) -> str:
        """The name in the catalogue, without a version."""
        return self.tfds_name.partition(":")[0]


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of a TFDS split.

    The data set is downloaded and prepared when it is not there yet.

    Args:
        settings: the data section.
        split: names the setting in messages.
        spec: a TFDS split: "train[:80%]", "train+test", …
    Raises:
        ConfigError: no such data set or split; TFDS is not installed.
        DataError: it is not prepared here and cannot be downloaded.
    """
    return TFDSSource(
        _prepared(settings),
        spec,
        setting_of(split),
        text_fields={*text_fields(settings), *settings.label_fields},
        label=settings.label_fields[0],
        fallback_encoding=settings.fallback_encoding,
    )


class TFDSSource:
    """A Source over a prepared TFDS builder."""

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        spec: str,
        key: str,
        *,
        text_fields: set[str],
        label: str,
        fallback_encoding: str | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            builder: prepared.
            spec: a TFDS split.
            key: the setting that names the split, for messages.
            text_fields: where bytes have to be text.
            label: the field whose names of classes count.
            fallback_encoding: of text that is not UTF-8.
        Raises:
            ConfigError: the builder has no such split.
        """
        self._fallback_encoding = fallback_encoding
        self._builder = builder
        self._spec = spec
        self._text_fields = text_fields
        self._label = label
        self._class_names = dict(_class_names(builder.info.features, ""))
        self._split = _split(builder, spec, key)
        self._count = 0

    def examples(self) -> Iterator[Example]:
        """The examples of the split, file after file; see `Source`."""
        import tensorflow_datasets as tfds

        self._count = 0
        # 1: in the order of the files, as _origins counts
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        with _as_data_error(self._builder.info.full_name, _DAMAGED):
            dataset = self._builder.as_dataset(
                split=self._spec, shuffle_files=False, read_config=config
            )
            for item, origin in zip(tfds.as_numpy(dataset), self._origins(), strict=True):
                self._count += 1
                features: dict[str, FieldValue] = {}
                self._flatten(item, "", features, origin)
                yield Example(features, origin)

    def fingerprint(self) -> str:
        """Of the prepared files and the records taken from each; see `Source`."""
        parts: list[list[object]] = []
        contents = {}
        for part in self._split.file_instructions:
            name = pathlib.PurePath(part.filename).name
            parts.append([name, part.skip, part.take])
            contents[name] = _content(str(part.filename))
        settings = {
            "source": "tfds",
            "name": self._builder.info.full_name,
            "parts": parts,
            "classes": self._class_names,
            "text_fields": sorted(self._text_fields),
            "fallback_encoding": self._fallback_encoding,
        }
        return fingerprint(contents.items(), settings)

    def label_names(self) -> list[str] | None:
        """Those of the label's ClassLabel, if it is one."""
        return self._class_names.get(self._label)

    def size(self) -> int:
        """Examples of the split."""
        return self._split.num_examples

    def progress(self) -> int:
        """Examples read so far."""
        return self._count

    def _origins(self) -> Iterator[Origin]:
        for part in self._split.file_instructions:
            takes_all = part.take < 0
            stop = part.examples_in_shard if takes_all else part.skip + part.take
            for index in range(part.skip, stop):
                yield Origin(str(part.filename), index + 1)

    def _flatten(
        self,
        item: Mapping[str, FieldValue],
        prefix: str,
        features: dict[str, FieldValue],
        origin: Origin,
    ) -> None:
        """Adds the fields of an item, those of nested ones with dotted names.

        Args:
            item: as TFDS gives it.
            prefix: of the names.
            features: changed in place.
            origin: of the item, for messages.
        """
        for name, value in item.items():
            field = prefix + name
            if isinstance(value, Mapping):
                self._flatten(value, field + ".", features, origin)
            else:
                features[field] = self._plain(value, field, origin)

    def _plain(self, value: FieldValue, field: str, origin: Origin) -> FieldValue:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list):
            return [self._plain(item, field, origin) for item in value]
        if isinstance(value, bytes):
            return self._text(value, field, origin)
        names = self._class_names.get(field)
        if names is None:
            return value
        return names[value] if value >= 0 else None  # -1: unlabelled

    def _text(self, value: bytes, field: str, origin: Origin) -> str | bytes:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            if field not in self._text_fields:
                return value
            with contextlib.suppress(UnicodeDecodeError):
                if self._fallback_encoding is not None:
                    return value.decode(self._fallback_encoding)
            raise DataError(
                f"{origin}: field {field!r} is not UTF-8: byte 0x{value[error.start]:02x} at byte"
                f" {error.start} of {value[:30]!r}. Encode text as UTF-8 when the data set is"
                " prepared, or set data.fallback_encoding."
            ) from None


def _content(file: str) -> pathlib.Path | gcs.RemoteObject:
    """What a prepared file's fingerprint is taken of; TFDS itself reads from gs:// as from here."""
    if file.startswith(mirror.SCHEME):
        return gcs.find(file, key="data.tfds_data_dir")[0]
    return pathlib.Path(file)


def _prepared(settings: Settings) -> tfds.core.DatasetBuilder:
    """The data set, prepared when it is not there yet."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        package = "tensorflow-datasets" if error.name == "tensorflow_datasets" else error.name
        raise ConfigError(
            "data.source: tfds needs a package that is not installed. To install it: pip install"
            f" {package}"
        ) from None
    name = settings.tfds_name
    where = settings.tfds_data_dir or tfds.core.constants.DATA_DIR
    builder = _builder(settings, where)
    if not builder.is_prepared():
        remedy = (
            f"On a machine with a connection: tfds build {name}; then copy its data_dir here and"
            " set data.tfds_data_dir."
        )
        problem = f"is not prepared in {where}, and preparing it failed"
        with _as_data_error(name, remedy, problem):
            builder.download_and_prepare()
    return builder


def _builder(settings: Settings, where: str) -> tfds.core.DatasetBuilder:
    """The data set of that name; raises ConfigError where there is none."""
    import tensorflow_datasets as tfds

    name = settings.tfds_name
    try:
        return tfds.builder(name, data_dir=settings.tfds_data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        near = [line.strip() for line in str(error).splitlines() if line.startswith("Did you mean")]
        raise ConfigError(
            f"data.tfds_name: TFDS knows no data set {name!r}, and none of that name is prepared in"
            f" {where}. {' '.join(near)} One of your own: run `tfds build` in its folder and set"
            " data.tfds_data_dir."
        ) from None
    # an unknown config or version, a malformed name
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"data.tfds_name: {name!r} cannot be used: {_first_line(error)}"
        ) from None
    except tf.errors.OpError as error:
        raise ConfigError(
            f"data.tfds_data_dir: {where} cannot be read: {_first_line(error)}"
        ) from None


@contextlib.contextmanager
def _as_data_error(name: str, remedy: str, problem: str = "cannot be read") -> Iterator[None]:
    """Turns what TFDS raises into a DataError.

    Args:
        name: of the data set.
        remedy: what to do.
        problem: what is wrong with it.
    """
    try:
        yield
    except DataError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"data.tfds_name: {name!r} {problem}: the package {error.name!r} is not installed."
            f" To install it: pip install {error.name}"
        ) from None
    except Exception as error:  # preparing runs the data set's own code, which may raise anything
        raise DataError(
            f"data.tfds_name: {name!r} {problem}: {_first_line(error)}. {remedy}"
        ) from error


def _split(builder: tfds.core.DatasetBuilder, spec: str, key: str) -> tfds.core.splits.SubSplitInfo:
    """A split of a data set.

    Args:
        builder: of the data set.
        spec: a TFDS split.
        key: the setting that names it, for messages.
    Raises:
        ConfigError: there is no such split.
    """
    try:
        return builder.info.splits[spec]
    except (ValueError, KeyError, AssertionError) as error:
        known = ", ".join(
            f"{name} ({split.num_examples:,} examples)"
            for name, split in builder.info.splits.items()
        )
        raise ConfigError(
            f"{key}: {builder.info.full_name} has no split {spec!r}: {_first_line(error)} It has:"
            f" {known}. A split may be cut and joined: train[:80%], train[1000:], train+test."
        ) from None


def _class_names(
    feature: tfds.features.FeatureConnector, field: str
) -> Iterator[tuple[str, list[str]]]:
    """Each field of classes below a feature, with their names."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.ClassLabel):
        yield field, feature.names or [str(index) for index in range(feature.num_classes or 0)]
    elif isinstance(feature, tfds.features.Sequence):
        yield from _class_names(feature.feature, field)
    elif isinstance(feature, tfds.features.FeaturesDict):
        for name, inner in feature.items():
            yield from _class_names(inner, f"{field}.{name}" if field else name)


def _first_line(error: Exception) -> str:
    message = str(error).strip() or type(error).__name__
    return message.splitlines()[0].strip("'\"")
