"""Safetensors files: headers that are checked before anything is allocated, tensors read singly."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from pathlib import Path
from typing import TypeGuard

import numpy as np

from trainer.errors import WeightsError, shown_name, shown_value
from trainer.files.json_file import read_object, require_file

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
LARGEST_HEADER = 100_000_000  # bytes, as in the safetensors library
_LENGTH = struct.Struct("<Q")
_ITEM_BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
    "BOOL": 8,
    "C64": 64,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
}
_READ = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # the types that weights may have
_AGAIN = "download the checkpoint again"
MOST_AXES = 32
LONGEST_NAME = 255  # of a file, in characters
TENSORS_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        dtype: by its name in safetensors, such as BF16.
        start: its first byte in the file.
        end: the byte behind its last.
    """

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def require_float(self) -> None:
        """Refuses types that are not read as float32, such as quantised ones.

        Raises:
            WeightsError: it is of such a type.
        """
        if self.dtype not in _READ:
            raise WeightsError(
                f"{self.file}: {shown_name(self.name)} is {shown_name(self.dtype)}: weights are"
                f" read from {', '.join(_READ)} only. Choose the checkpoint before it was"
                " quantised, or save it with model.float().save_pretrained"
            )

    def read(self) -> np.ndarray:
        """The tensor as float32."""
        self.require_float()
        count = math.prod(self.shape)
        try:
            stored = np.fromfile(self.file, _READ[self.dtype], count, offset=self.start)
        except OSError as error:
            raise _unreadable(self.file, error) from None
        if self.dtype == "BF16":  # the upper half of a float32
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float32, copy=False).reshape(self.shape)


def read_headers(folder: Path) -> dict[str, Tensor]:
    """Every tensor of model.safetensors, or of the files of its index, by its name.

    Raises:
        WeightsError: a file is missing, damaged, or not what the index says.
    """
    whole = folder / WEIGHTS_FILE
    if whole.exists() or whole.is_symlink():
        return read_header(whole)
    tensors: dict[str, Tensor] = {}
    for path, wanted in sorted(_shards(folder).items()):
        header = read_header(path)
        absent = sorted(wanted - set(header))
        if absent:
            raise WeightsError(
                f"{path} does not have {few(absent)}, which {INDEX_FILE} places there: {_AGAIN}"
            )
        tensors |= header
    return tensors


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one file by their names.

    Raises:
        WeightsError: it is no file, or its header is damaged or announces other bytes than it has.
    """
    require_file(path)
    header = _read_header_bytes(path)
    described = _described_tensors(path, header)
    data_start = _LENGTH.size + header.length
    tensors = {}
    for name, fields in described.items():
        tensors[name] = _tensor(path, name, fields, data_start)
    places = [(tensor.start, tensor.end) for tensor in tensors.values()]
    _require_all_bytes(path, header.file_size, data_start, places)
    return tensors


@dataclasses.dataclass(frozen=True)
class _Header:
    """The header of a file, not yet understood.

    Attributes:
        length: that its first bytes announce; -1 where the file is too short to announce one.
        text: the header; empty where the file cannot have one of this length.
        file_size: in bytes.
    """

    length: int
    text: bytes
    file_size: int


def _read_header_bytes(path: Path) -> _Header:
    length = -1
    text = b""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(_LENGTH.size)
            if len(first) == _LENGTH.size:
                (length,) = _LENGTH.unpack(first)
            if 0 <= length <= min(LARGEST_HEADER, size - _LENGTH.size):
                text = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from None
    return _Header(length, text, file_size=size)


def _described_tensors(path: Path, header: _Header) -> dict[str, object]:
    """What the header says of each tensor."""
    try:
        content = json.loads(header.text.decode("utf-8"))
        return {name: fields for name, fields in content.items() if name != "__metadata__"}
    except (ValueError, RecursionError, AttributeError):
        announced = "too short for a header"
        if header.length >= 0:
            announced = f"its first bytes announce a header of {header.length:,} bytes"
        raise WeightsError(
            f"{path} is damaged ({announced}): it has {header.file_size:,} bytes and no readable"
            f" header; {_AGAIN}"
        ) from None


def _tensor(path: Path, name: str, fields: object, data_start: int) -> Tensor:
    """One tensor of a header.

    Args:
        path: of the file.
        name: of the tensor.
        fields: what the header says of it.
        data_start: where in the file the data begins.
    Raises:
        WeightsError: that is no tensor, or its shape does not fit its bytes.
    """
    damaged = WeightsError(
        f"{path} is damaged: its header says of {shown_name(name)} {shown_value(fields, 200)}."
        f" Expected dtype, shape and data_offsets that agree; {_AGAIN}"
    )
    if not isinstance(fields, dict):
        raise damaged
    dtype = fields.get("dtype")
    shape = fields.get("shape")
    offsets = fields.get("data_offsets")
    if not isinstance(dtype, str) or not _are_counts(shape):
        raise damaged
    if not _are_counts(offsets) or len(offsets) != 2:
        raise damaged
    start, end = offsets
    bits = 8 * (end - start)
    expected_bits = bits
    if dtype in _ITEM_BITS:
        expected_bits = _ITEM_BITS[dtype] * math.prod(shape)
    if bits < 0 or bits != expected_bits:
        raise damaged
    return Tensor(
        path,
        name,
        dtype,
        tuple(shape),
        start=data_start + start,
        end=data_start + end,
    )


def _are_counts(values: object) -> TypeGuard[list[int]]:
    if not isinstance(values, list) or len(values) > MOST_AXES:
        return False
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def _require_all_bytes(
    path: Path,
    file_size: int,
    data_start: int,
    places: list[tuple[int, int]],
) -> None:
    """Refuses a file whose data is not exactly that of its tensors, one behind the other.

    Args:
        path: of the file.
        file_size: in bytes.
        data_start: where in the file the data begins.
        places: of the tensors: the first byte, and that behind the last.
    Raises:
        WeightsError: bytes are missing, too many, or of two tensors.
    """
    announced = max((end for _, end in places), default=data_start)
    if file_size != announced:
        raise WeightsError(
            f"{path} is damaged (cut off, or changed): it has {file_size:,} bytes, its header"
            f" announces {announced:,}; {_AGAIN}"
        )
    reached = data_start
    for start, end in sorted(places):
        if start != reached:
            raise WeightsError(f"{path} is damaged (tensors overlap, or leave bytes out): {_AGAIN}")
        reached = end


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"{path} cannot be read: {error.strerror or error}")


def _shards(folder: Path) -> dict[Path, set[str]]:
    """The files of the index, with the tensors that it says each must have.

    Raises:
        WeightsError: there is no index, it names no files, or some of them are missing.
    """
    index = folder / INDEX_FILE
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{index} has no weight_map: {_AGAIN}")
    shards: dict[Path, set[str]] = {}
    for tensor, file in places.items():
        if not _is_file_name(file):
            raise WeightsError(
                f"{index}: weight_map places {shown_name(tensor)} in {shown_value(file)}: expected"
                f" the name of a file of this folder; {_AGAIN}"
            )
        shards.setdefault(folder / file, set()).add(tensor)
    absent = sorted(path.name for path in shards if not path.exists())
    if absent:
        raise WeightsError(
            f"{folder} does not have {few(absent)}, which {INDEX_FILE} names: {_AGAIN}"
        )
    return shards


def _is_file_name(file: object) -> bool:
    """Whether the name stays inside its folder, on every system."""
    if not isinstance(file, str) or not 0 < len(file) <= LONGEST_NAME:
        return False
    is_one_part = file == Path(file).name and file != ".."
    return is_one_part and "\\" not in file and "\0" not in file


def few(names: list[str]) -> str:
    """The first names for a message, and how many more there are."""
    shown = ", ".join(map(shown_name, names[:TENSORS_SHOWN]))
    more = len(names) - TENSORS_SHOWN
    if more <= 0:
        return shown
    return f"{shown} and {more:,} more"
