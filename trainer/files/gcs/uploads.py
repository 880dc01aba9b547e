"""Objects are written whole or not at all, copied within Cloud Storage, and removed."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Sequence

from trainer.files.gcs import connection
from trainer.files.gcs.connection import client, explained, parse, retry
from trainer.files.gcs.downloads import each
from trainer.files.gcs.objects import RemoteObject

PART_BYTES = 32 << 20  # of an upload that can be resumed


def upload(path: pathlib.Path, url: str, *, key: str) -> None:
    """Writes a file as an object, which has the new content whole or stays as it is.

    Args:
        path: the file; a large one goes in parts that can be resumed.
        url: of the object.
        key: the setting that the URL comes from, for messages.
    Raises:
        ConfigError: it cannot be written.
    """
    bucket, name = parse(url, key=key)
    part_bytes = PART_BYTES if path.stat().st_size > PART_BYTES else None
    blob = client().bucket(bucket).blob(name, chunk_size=part_bytes)
    with explained(key, url, "storage.objects.create"):
        blob.upload_from_filename(
            str(path), checksum="crc32c", retry=retry(), timeout=connection.TIMEOUT_SECONDS
        )


def copy(item: RemoteObject, url: str, *, key: str) -> None:
    """Copies an object within Cloud Storage.

    Args:
        item: what is copied.
        url: of the copy.
        key: the setting that the URL comes from, for messages.
    Raises:
        ConfigError: it is refused.
    """
    bucket, name = parse(url, key=key)
    source = client().bucket(item.bucket).blob(item.name, generation=item.generation)
    target = client().bucket(bucket).blob(name)
    token = None
    with explained(key, url, "storage.objects.create"):
        while True:  # large ones, or those of another place, take several requests
            token, _, _ = target.rewrite(
                source, token=token, retry=retry(), timeout=connection.TIMEOUT_SECONDS
            )
            if token is None:
                return


def delete(objects: Sequence[RemoteObject], *, key: str) -> None:
    """Removes objects in the generation that was listed.

    One that is gone or was written anew is left alone.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    def delete_one(item: RemoteObject) -> None:
        with (
            explained(key, str(item), "storage.objects.delete"),
            contextlib.suppress(NotFound, PreconditionFailed),
        ):
            client().bucket(item.bucket).delete_blob(
                item.name,
                if_generation_match=item.generation,
                retry=retry(),
                timeout=connection.TIMEOUT_SECONDS,
            )

    each(delete_one, objects)
