"""The objects that a URL, a folder or a glob names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trainer.errors import ConfigError
from trainer.files.gcs import connection
from trainer.files.gcs.connection import client, explained, parse, retry
from trainer.files.gcs.globs import MAGIC, fixed_prefix, pattern, stays_in_its_folder

if TYPE_CHECKING:
    from google.cloud.storage import Blob

LISTED_FIELDS = "items(name,generation,size,crc32c,contentEncoding),prefixes,nextPageToken"
NAMES_SHOWN = 5
NAMES_SEARCHED = 1000


class RemoteObject(NamedTuple):
    """One object as it was when it was listed."""

    bucket: str
    name: str
    generation: int
    size: int
    crc32c: str  # base64, as Cloud Storage has it
    encoding: str = ""  # "gzip" where it is stored so and is to be read unzipped

    def __str__(self) -> str:
        """As gs://bucket/name."""
        return f"gs://{self.bucket}/{self.name}"


def find(url: str, *, key: str) -> list[RemoteObject]:
    """The objects that a URL names, sorted by name.

    It names one object, those below a folder, or those that match a glob (`*`, `?`, `[…]`, `**`).

    Args:
        url: as written in the config.
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: there are none; names some that are there.
    """
    bucket, name = parse(url, key=key)
    with explained(key, url, "storage.objects.list"):
        objects = _named(bucket, name)
        if not objects and MAGIC.search(name):
            objects = _matching(bucket, name)
        elif not objects:
            objects = _listed(bucket, f"{name.rstrip('/')}/" if name else "")
    if not objects:
        raise ConfigError(f"{key}: there is no object {url!r}. {_near(bucket, name, key)}")
    return objects


def names(spec: str, url: str) -> bool:
    """Whether a URL or glob names that object, or a folder that has it."""
    folder = spec.rstrip("/")
    if url == folder or url.startswith(f"{folder}/"):
        return True
    bucket, _, glob = spec.removeprefix("gs://").partition("/")
    if not MAGIC.search(glob) or not url.startswith(f"gs://{bucket}/"):
        return False
    return pattern(glob).fullmatch(url.removeprefix(f"gs://{bucket}/")) is not None


def location(url: str, *, key: str) -> str | None:
    """Where a bucket lies, such as US-CENTRAL1 or EU.

    None where this identity may use the bucket but not ask. Raises ConfigError without a bucket.
    """
    from google.api_core.exceptions import Forbidden

    bucket_name = parse(url, key=key)[0]
    with explained(key, f"gs://{bucket_name}", "storage.objects.list"):
        try:
            bucket = client().get_bucket(
                bucket_name, retry=retry(), timeout=connection.TIMEOUT_SECONDS
            )
        except Forbidden:
            return None
    return bucket.location


def listing(url: str, *, key: str) -> list[RemoteObject]:
    """The objects below that folder, or that of this name; none where there are none."""
    bucket, name = parse(url, key=key)
    name = name.rstrip("/")
    with explained(key, url, "storage.objects.list"):
        return _listed(bucket, f"{name}/" if name else "") or _named(bucket, name)


def _named(bucket: str, name: str) -> list[RemoteObject]:
    """The object of that name, or none."""
    if not name or name.endswith("/"):
        return []
    blob = client().bucket(bucket).get_blob(name, retry=retry(), timeout=connection.TIMEOUT_SECONDS)
    return [_as_object(bucket, blob)] if blob is not None else []


def _matching(bucket: str, glob: str) -> list[RemoteObject]:
    """The objects that match a glob. A bracket that matches nothing may be part of a name."""
    listed = _listed(bucket, fixed_prefix(glob), folders=not stays_in_its_folder(glob))
    meant = pattern(glob)
    matching = [item for item in listed if meant.fullmatch(item.name)]
    if matching or "[" not in glob:
        return matching
    literal = pattern(glob, brackets=False)
    return [item for item in listed if literal.fullmatch(item.name)]


def _listed(bucket: str, prefix: str, *, folders: bool = True) -> list[RemoteObject]:
    """The objects whose names begin so; with `folders`, those in folders below that, too."""
    blobs = client().list_blobs(
        bucket,
        prefix=prefix,
        delimiter=None if folders else "/",
        fields=LISTED_FIELDS,
        retry=retry(),
        timeout=connection.TIMEOUT_SECONDS,
    )
    # a name that ends in / only marks a folder
    return sorted(_as_object(bucket, blob) for blob in blobs if not blob.name.endswith("/"))


def _as_object(bucket: str, blob: Blob) -> RemoteObject:
    return RemoteObject(
        bucket,
        blob.name,
        int(blob.generation),
        int(blob.size),
        blob.crc32c,
        blob.content_encoding or "",
    )


def _near(bucket: str, name: str, key: str) -> str:
    """What there is instead, in the nearest folder that has something."""
    folder = fixed_prefix(name)
    while folder:
        folder = folder.rstrip("/").rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        entries = _entries(bucket, prefix, key)
        if entries:
            shown = ", ".join(entry.removeprefix(prefix) for entry in entries[:NAMES_SHOWN])
            hidden = len(entries) - NAMES_SHOWN
            more = f" and {hidden} more" if hidden > 0 else ""
            return f"gs://{bucket}/{prefix} holds: {shown}{more}."
    return f"gs://{bucket} is empty."


def _entries(bucket: str, prefix: str, key: str) -> list[str]:
    """The names of objects and folders directly below a prefix."""
    with explained(key, f"gs://{bucket}/{prefix}", "storage.objects.list"):
        blobs = client().list_blobs(
            bucket,
            prefix=prefix,
            delimiter="/",
            max_results=NAMES_SEARCHED,
            retry=retry(),
            timeout=connection.TIMEOUT_SECONDS,
        )
        objects = [blob.name for blob in blobs if blob.name != prefix]
        return sorted([*objects, *blobs.prefixes])
