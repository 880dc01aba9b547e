"""Cloud Storage: what its objects are called, reading them into files, writing them whole.

Requests are repeated with growing pauses after 429, 5xx and cut connections; contents are checked
by crc32c both ways. Which folders of this machine stand for folders of a bucket is not said here
but in `trainer/files/mirror.py`.

Source: https://cloud.google.com/storage/docs/retry-strategy and …/docs/data-validation.
"""

from trainer.files.gcs.connection import (
    GoneError,
    UnavailableError,
    client,
    identity,
    member,
    parse,
)
from trainer.files.gcs.downloads import content, crc32c, download, each, fetch
from trainer.files.gcs.globs import MAGIC
from trainer.files.gcs.notes import Note, read_note, remove_note, write_note
from trainer.files.gcs.objects import RemoteObject, find, listing, location, names
from trainer.files.gcs.uploads import copy, delete, upload

__all__ = [
    "MAGIC",
    "GoneError",
    "Note",
    "RemoteObject",
    "UnavailableError",
    "client",
    "content",
    "copy",
    "crc32c",
    "delete",
    "download",
    "each",
    "fetch",
    "find",
    "identity",
    "listing",
    "location",
    "member",
    "names",
    "parse",
    "read_note",
    "remove_note",
    "upload",
    "write_note",
]
