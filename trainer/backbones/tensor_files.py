"""Safetensors files: their headers, checked before anything is allocated, and their tensors, read
one at a time.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

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
SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        dtype: by its name in safetensors, such as BF16.
        start: its first byte in the file.
    """

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    def require_float(self) -> None:
        """Raises WeightsError where it is of a type that is not read as float32, such as a
        quantised one.
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
        try:
            values = np.fromfile(
                self.file, _READ[self.dtype], math.prod(self.shape), offset=self.start
            )
        except OSError as error:
            raise WeightsError(f"{self.file} cannot be read: {error.strerror or error}") from None
        if self.dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False).reshape(self.shape)


def read_headers(folder: Path) -> dict[str, Tensor]:
    """Every tensor of model.safetensors, or of the files of its index, by its name.

    Raises:
        WeightsError: a file is missing, damaged, or not what the index says.
    """
    if (folder / WEIGHTS_FILE).exists() or (folder / WEIGHTS_FILE).is_symlink():
        return read_header(folder / WEIGHTS_FILE)
    tensors: dict[str, Tensor] = {}
    for path, wanted in sorted(_shards(folder).items()):
        header = read_header(path)
        if absent := sorted(wanted - set(header)):
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
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(_LENGTH.size)
            length = _LENGTH.unpack(first)[0] if len(first) == _LENGTH.size else -1
            header = (
                file.read(length)
                if 0 <= length <= min(LARGEST_HEADER, size - _LENGTH.size)
                else b""
            )
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        content = json.loads(header.decode("utf-8"))
        described = {name: fields for name, fields in content.items() if name != "__metadata__"}
    except (ValueError, RecursionError, AttributeError):
        announced = (
            f"its first bytes announce a header of {length:,} bytes"
            if length >= 0
            else "too short for a header"
        )
        raise WeightsError(
            f"{path} is damaged ({announced}): it has {size:,} bytes and no readable header;"
            f" {_AGAIN}"
        ) from None
    begin = _LENGTH.size + length
    tensors = {name: _tensor(path, name, fields, begin) for name, fields in described.items()}
    end = begin + max((fields["data_offsets"][1] for fields in described.values()), default=0)
    if size != end:
        raise WeightsError(
            f"{path} is damaged (cut off, or changed): it has {size:,} bytes, its header announces"
            f" {end:,}; {_AGAIN}"
        )
    places = sorted(tuple(fields["data_offsets"]) for fields in described.values())
    if any(end != start for (_, end), (start, _) in itertools.pairwise([(0, 0), *places])):
        raise WeightsError(f"{path} is damaged (tensors overlap, or leave bytes out): {_AGAIN}")
    return tensors


def _tensor(path: Path, name: str, fields: object, begin: int) -> Tensor:
    """One tensor of a header; `begin` is where the file's data begins."""
    if not isinstance(fields, Mapping):
        raise _damaged(path, name, fields)
    dtype = fields.get("dtype")
    shape = fields.get("shape")
    offsets = fields.get("data_offsets")
    if (
        not isinstance(dtype, str)
        or not _are_counts(shape)
        or not _are_counts(offsets)
        or len(offsets) != 2
    ):
        raise _damaged(path, name, fields)
    bits = _ITEM_BITS.get(dtype)
    if offsets[0] > offsets[1] or (
        bits is not None and math.prod(shape) * bits != 8 * (offsets[1] - offsets[0])
    ):
        raise _damaged(path, name, fields)
    return Tensor(path, name, dtype, tuple(shape), begin + offsets[0])


def _are_counts(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 32
        and all(type(value) is int and 0 <= value < 2**63 for value in values)
    )


def _damaged(path: Path, name: str, fields: object) -> WeightsError:
    return WeightsError(
        f"{path} is damaged: its header says of {shown_name(name)} {shown_value(fields, 200)}."
        f" Expected dtype, shape and data_offsets that agree; {_AGAIN}"
    )


def _shards(folder: Path) -> dict[Path, set[str]]:
    """The files of the index, with the tensors that it says each must have."""
    index = folder / INDEX_FILE
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{index} has no weight_map: {_AGAIN}")
    shards: dict[Path, set[str]] = {}
    for name, file in places.items():
        if (
            not isinstance(file, str)
            or not 0 < len(file) < 256
            or file != Path(file).name
            or file == ".."
            or "\\" in file
            or "\0" in file
        ):
            raise WeightsError(
                f"{index}: weight_map places {shown_name(name)} in {shown_value(file)}: expected"
                f" the name of a file of this folder; {_AGAIN}"
            )
        shards.setdefault(folder / file, set()).add(name)
    if absent := sorted(path.name for path in shards if not path.exists()):
        raise WeightsError(
            f"{folder} does not have {few(absent)}, which {INDEX_FILE} names: {_AGAIN}"
        )
    return shards


def few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(shown_name(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
