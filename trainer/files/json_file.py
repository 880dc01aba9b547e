"""A JSON file of someone else's: read whole, or refused in one message."""

from __future__ import annotations

import json
import math
import os
import pathlib
from typing import Any, TypeAlias

from trainer.errors import WeightsError, shown_name

JsonObject: TypeAlias = dict[str, Any]  # as json reads one
LARGEST_BYTES = 200 * 2**20  # the largest known tokenizer.json has 35 MB
AGAIN = "Copy the file again from its source"


def require_file(path: pathlib.Path) -> None:
    """Raises WeightsError where a path is no file.

    It may be a folder, a pipe, or a link to nothing.
    """
    if path.is_file():
        return
    if path.is_dir():
        problem = "is a folder where a file belongs"
    elif path.is_symlink():
        problem = f"is a link to {shown_name(os.readlink(path))}, where nothing is"
    else:
        problem = "is no regular file" if path.exists() else "does not exist"
    raise WeightsError(f"{path} {problem}. {AGAIN}")


def read_object(path: pathlib.Path) -> JsonObject:
    """The object in a JSON file.

    Raises:
        WeightsError: it is no regular file, not in UTF-8, no JSON, too large or too deep, or holds
            something else.
    """
    require_file(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise WeightsError(
                f"{path} has {size:,} bytes: expected at most {LARGEST_BYTES:,}. {AGAIN}"
            )
        content = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}. Correct its permissions, or copy it"
            " again"
        ) from None
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"{path} is not in UTF-8: byte {error.object[error.start]:#04x} at {error.start:,}."
            f" {AGAIN}"
        ) from None
    except RecursionError:
        raise WeightsError(
            f"{path} is nested too deeply for a JSON file of its kind. {AGAIN}"
        ) from None
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON ({shown_name(error)}). {AGAIN}") from None
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path} holds a JSON {type(content).__name__}: expected an object. {AGAIN}"
        )
    return content


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number; true and false are none."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
