"""Notes: small objects by which processes tell each other something, such as a lock."""

from __future__ import annotations

import time
from typing import NamedTuple

from trainer.files.gcs import connection
from trainer.files.gcs.connection import client, explained, parse, retry
from trainer.files.gcs.objects import RemoteObject
from trainer.files.gcs.uploads import delete


class Note(NamedTuple):
    """A note as it was read.

    Attributes:
        content: what it says.
        generation: grows each time it is written.
        age: seconds since it was written.
    """

    content: bytes
    generation: int
    age: float


def read_note(url: str, *, key: str) -> Note | None:
    """The note of that name; None where there is none.

    Raises ConfigError where it cannot be read.
    """
    from google.api_core.exceptions import NotFound

    bucket, name = parse(url, key=key)
    with explained(key, url, "storage.objects.get"):
        try:
            blob = (
                client()
                .bucket(bucket)
                .get_blob(name, retry=retry(), timeout=connection.TIMEOUT_SECONDS)
            )
            if blob is None:
                return None
            content = blob.download_as_bytes(
                if_generation_match=blob.generation,
                checksum=None,
                retry=retry(),
                timeout=connection.TIMEOUT_SECONDS,
            )
        except NotFound:  # removed between the two requests
            return None
    return Note(content, int(blob.generation), time.time() - blob.updated.timestamp())


def write_note(url: str, content: bytes, *, replaces: int, key: str) -> int | None:
    """Writes a note, unless another process was faster.

    Args:
        url: of the note.
        content: what it says.
        replaces: the generation that it takes the place of; 0: of none.
        key: the setting that the URL comes from, for messages.
    Returns:
        its generation, or None where another process was faster.
    Raises:
        ConfigError: it cannot be written.
    """
    from google.api_core.exceptions import PreconditionFailed

    bucket, name = parse(url, key=key)
    blob = client().bucket(bucket).blob(name)
    with explained(key, url, "storage.objects.create"):
        try:
            blob.upload_from_string(
                content,
                content_type="application/json",
                if_generation_match=replaces,
                checksum="crc32c",
                retry=retry(),
                timeout=connection.TIMEOUT_SECONDS,
            )
        except PreconditionFailed:
            return None
    return int(blob.generation)


def remove_note(url: str, generation: int, *, key: str) -> None:
    """Removes a note; one that is gone, or was written anew, is left alone.

    Args:
        url: of the note.
        generation: that is removed.
        key: the setting that names the bucket, for the message.
    """
    bucket, name = parse(url, key=key)
    delete([RemoteObject(bucket, name, generation, 0, "")], key=key)
