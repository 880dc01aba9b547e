"""Cloud Storage: objects are fetched once into a cache of this machine, keyed by their generation,
and written whole or not at all.

Requests are repeated with growing pauses after 429, 5xx and cut connections; contents are checked
by crc32c both ways.

Source: https://cloud.google.com/storage/docs/retry-strategy and …/docs/data-validation.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import gzip
import hashlib
import os
import pathlib
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from trainer.errors import ConfigError, UserError

URL = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]*[a-z0-9])(?:/(?P<name>.*))?", re.DOTALL)
MAGIC = re.compile(r"[*?\[]")
LARGE_BYTES = 64 << 20  # from here on an object is fetched in ranges, several at once
RANGE_BYTES = 32 << 20  # of a range, and of a part of a resumable upload
CONNECTIONS = 8
TIMEOUT_SECONDS = 60.0  # of one request
PATIENCE_SECONDS = 600.0  # of a request with all its repetitions
NAMES_SHOWN = 5
ROLES = {
    "storage.objects.list": "roles/storage.objectViewer",
    "storage.objects.get": "roles/storage.objectViewer",
    "storage.objects.create": "roles/storage.objectUser",
    "storage.objects.delete": "roles/storage.objectUser",
}


class GoneError(ConfigError):
    """An object that was listed is there no more, or in another generation."""


class UnavailableError(ConfigError):
    """Cloud Storage did not answer for PATIENCE_SECONDS."""


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


def parse(url: str, *, key: str) -> tuple[str, str]:
    """Bucket and name of gs://bucket/name.

    Raises ConfigError, which names the setting `key`, where it is none.
    """
    match = URL.fullmatch(url)
    if match is None:
        raise ConfigError(
            f"{key}: expected gs://BUCKET/NAME, the bucket without wildcards. Received {url!r}."
        )
    return match["bucket"], match["name"] or ""


def find(url: str, *, key: str) -> list[RemoteObject]:
    """The objects that a URL names: one, those below a folder, or those that match a glob (`*`,
    `?`, `[…]`, `**`); sorted by name.

    Raises:
        ConfigError: there are none; names some that are there.
    """
    bucket, name = parse(url, key=key)
    with _explained(key, url, "storage.objects.list"):
        found = _named(bucket, name)
        if not found and MAGIC.search(name):
            fixed = MAGIC.split(name)[0]
            flat = "/" not in MAGIC.split(name, maxsplit=1)[-1] and "**" not in name
            pattern = _pattern(name)
            listed = _listed(bucket, fixed, folders=not flat)
            found = [item for item in listed if pattern.fullmatch(item.name)]
            if not found and "[" in name:  # which may be part of a folder's name
                named = _pattern(name, brackets=False)
                found = [item for item in listed if named.fullmatch(item.name)]
        elif not found:
            found = _listed(bucket, f"{name.rstrip('/')}/" if name else "")
    if not found:
        raise ConfigError(f"{key}: there is no object {url!r}. {_near(bucket, name, key)}")
    return found


def names(spec: str, url: str) -> bool:
    """Whether a URL or glob names that object, or a folder that has it."""
    if url == spec.rstrip("/") or url.startswith(spec.rstrip("/") + "/"):
        return True
    bucket, _, name = spec.removeprefix("gs://").partition("/")
    return (
        bool(MAGIC.search(name))
        and url.startswith(f"gs://{bucket}/")
        and _pattern(name).fullmatch(url.removeprefix(f"gs://{bucket}/")) is not None
    )


def location(url: str, *, key: str) -> str | None:
    """Where a bucket lies, such as US-CENTRAL1 or EU; None where this identity may use the bucket
    but not ask. Raises ConfigError without a bucket.
    """
    from google.api_core.exceptions import Forbidden

    bucket = parse(url, key=key)[0]
    with _explained(key, f"gs://{bucket}", "storage.objects.list"):
        try:
            return client().get_bucket(bucket, retry=_retry(), timeout=TIMEOUT_SECONDS).location
        except Forbidden:
            return None


def listing(url: str, *, key: str) -> list[RemoteObject]:
    """The objects below that folder, or that of this name; none where there are none."""
    bucket, name = parse(url, key=key)
    name = name.rstrip("/")
    with _explained(key, url, "storage.objects.list"):
        return _listed(bucket, f"{name}/" if name else "") or _named(bucket, name)


def _named(bucket: str, name: str) -> list[RemoteObject]:
    """The object of that name, or none."""
    if not name or name.endswith("/"):
        return []
    blob = client().bucket(bucket).get_blob(name, retry=_retry(), timeout=TIMEOUT_SECONDS)
    return [_as_object(bucket, blob)] if blob is not None else []


def _listed(bucket: str, prefix: str, *, folders: bool = True) -> list[RemoteObject]:
    """The objects whose names begin so; without those in folders below that, where they are not
    wanted.
    """
    fields = "items(name,generation,size,crc32c,contentEncoding),prefixes,nextPageToken"
    flat = {} if folders else {"delimiter": "/"}
    blobs = client().list_blobs(
        bucket, prefix=prefix, fields=fields, retry=_retry(), timeout=TIMEOUT_SECONDS, **flat
    )
    # which only marks a folder
    return sorted(_as_object(bucket, blob) for blob in blobs if not blob.name.endswith("/"))


def _as_object(bucket: str, blob: Any) -> RemoteObject:
    return RemoteObject(
        bucket,
        blob.name,
        int(blob.generation),
        int(blob.size),
        blob.crc32c,
        blob.content_encoding or "",
    )


def _pattern(glob: str, *, brackets: bool = True) -> re.Pattern[str]:
    """What a glob means: `*`, `?` and, with `brackets`, `[…]` stay within a folder, `**` does not.
    (fnmatch knows no folders.)
    """
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(
        r"(\*\*/|\*\*|\*|\?|\[!?[^\]/]+\])" if brackets else r"(\*\*/|\*\*|\*|\?)", glob
    )

    def meant(token: str) -> str:
        if re.fullmatch(r"\[!?[^\]/]+\]", token):
            # Between brackets only - has a meaning, and where its ends are in no order it has none,
            # as in a shell.
            inner = re.sub(
                r"(.)-(.)",
                lambda match: match[0] if match[1] <= match[2] else "",
                token[1:-1].removeprefix("!"),
            )
            inner = inner.replace("\\", r"\\").replace("^", r"\^")
            return f"[^/{inner}]" if token.startswith("[!") else f"[{inner}]" if inner else "(?!)"
        return parts.get(token) or re.escape(token)

    return re.compile("".join(map(meant, tokens)), re.DOTALL)


def _near(bucket: str, name: str, key: str) -> str:
    """What there is instead, in the nearest folder that has something."""
    folder = MAGIC.split(name)[0]
    while folder:
        folder = folder.rstrip("/").rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        with _explained(key, f"gs://{bucket}/{prefix}", "storage.objects.list"):
            iterator = client().list_blobs(
                bucket,
                prefix=prefix,
                delimiter="/",
                max_results=1000,
                retry=_retry(),
                timeout=TIMEOUT_SECONDS,
            )
            names = sorted(
                [blob.name for blob in iterator if blob.name != prefix] + list(iterator.prefixes)
            )
        if names:
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            return (
                f"gs://{bucket}/{prefix} holds:"
                f" {', '.join(entry.removeprefix(prefix) for entry in names[:NAMES_SHOWN])}{more}."
            )
    return f"gs://{bucket} is empty."


def fetch(
    objects: Sequence[RemoteObject],
    cache: pathlib.Path,
    *,
    key: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[pathlib.Path]:
    """Local files with the contents of the objects, in their order; fetches those that the cache
    does not have in this generation.

    The files stand in one folder below `cache`, by bucket and name, so that relative names are
    those of the bucket. `progress` is called with the bytes that are here and those of all objects.

    Raises:
        ConfigError: an object cannot be read, or what arrived is not what Cloud Storage has, twice.
    """
    _refuse_unsafe(objects, key)
    digest = hashlib.blake2b(
        repr([(item.bucket, item.name, item.generation) for item in sorted(objects)]).encode(),
        digest_size=16,
    ).hexdigest()
    tree = cache / "fetched" / digest
    sizes, total = [0], sum(item.size for item in objects)

    def one(item: RemoteObject) -> pathlib.Path:
        blob = _cached(item, cache / "objects", key)
        path = tree / item.bucket / item.name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(blob, path)
        sizes.append(item.size)  # from several threads
        progress(sum(sizes), total)
        return path

    return _smaller_first(one, objects)


def download(targets: Mapping[RemoteObject, pathlib.Path], *, key: str) -> None:
    """Writes objects to files, each whole or not at all.

    Raises:
        ConfigError: as for `fetch`.
    """
    _refuse_unsafe(targets, key)
    _smaller_first(lambda item: _download_whole(item, targets[item], key), list(targets))


def _refuse_unsafe(objects: Iterable[RemoteObject], key: str) -> None:
    """Names are any text there, such as ../../x; here they say where a file is written."""
    names = {(item.bucket, item.name) for item in objects}
    for item in objects:
        parts = item.name.split("/")
        if inside := next(
            (
                parent
                for end in range(1, len(parts))
                if (item.bucket, parent := "/".join(parts[:end])) in names
            ),
            None,
        ):
            raise ConfigError(
                f"{key}: gs://{item.bucket}/{inside} is an object, and {item} lies in a folder of"
                " that name, which no file system of this machine has side by side. Rename one:"
                f" gcloud storage mv gs://{item.bucket}/{inside} gs://{item.bucket}/NAME"
            )
        if not {"", ".", ".."}.isdisjoint(parts):
            raise ConfigError(
                f"{key}: {item} has a name that no file of this machine can have. Rename it: gcloud"
                f" storage mv '{item}' gs://{item.bucket}/NAME"
            )


def _smaller_first(
    action: Callable[[RemoteObject], Any], objects: Sequence[RemoteObject]
) -> list[Any]:
    """The action's results, in the order of the objects;
    a large one has all connections to itself.
    """
    small = [item for item in objects if item.size < LARGE_BYTES]
    results = dict(zip(small, each(action, small), strict=True))
    return [results[item] if item in results else action(item) for item in objects]


def each(action: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """What an action returns of each item, several at once."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(action, items))


def _download_whole(item: RemoteObject, path: pathlib.Path, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.part")
    try:
        _download(item, temporary, key)
        if item.encoding == "gzip":
            _unzip(item, temporary, key)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _unzip(item: RemoteObject, path: pathlib.Path, key: str) -> None:
    unzipped = path.with_name(f"{path.name}.unzipped")
    try:
        with gzip.open(path) as packed, unzipped.open("wb") as file:
            shutil.copyfileobj(packed, file)
        os.replace(unzipped, path)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"{key}: {item} is marked as gzip (Content-Encoding) and cannot be unzipped: {error}."
            " Upload it again."
        ) from None
    finally:
        unzipped.unlink(missing_ok=True)


def _cached(item: RemoteObject, folder: pathlib.Path, key: str) -> pathlib.Path:
    """The object's content by generation.

    Of several processes of a machine one fetches it, the others wait.
    """
    name = hashlib.blake2b(f"{item.bucket}/{item.name}".encode(), digest_size=16).hexdigest()
    path = folder / f"{name}.{item.generation}"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return path
    with open(folder / f".{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _download_whole(item, path, key)
    with contextlib.suppress(OSError):
        os.unlink(folder / f".{path.name}.lock")
    return path


def _download(item: RemoteObject, path: pathlib.Path, key: str) -> None:
    from google.cloud.storage import transfer_manager

    blob = client().bucket(item.bucket).blob(item.name, generation=item.generation)
    for _attempt in range(2):
        with _explained(key, str(item), "storage.objects.get"):
            # ranges of an encoded one cannot be had as they are stored
            if item.size >= LARGE_BYTES and not item.encoding:
                # which is where it takes the size from
                blob.reload(retry=_retry(), timeout=TIMEOUT_SECONDS)
                transfer_manager.download_chunks_concurrently(
                    blob,
                    str(path),
                    chunk_size=RANGE_BYTES,
                    worker_type=transfer_manager.THREAD,
                    max_workers=CONNECTIONS,
                    # ours is of the file as it lies
                    download_kwargs={"retry": _retry(), "timeout": TIMEOUT_SECONDS},
                    crc32c_checksum=False,
                )
            else:
                # Not checked here: what an interrupted one has got is checked below, like that of
                # all ways.
                blob.download_to_filename(
                    str(path),
                    raw_download=True,
                    checksum=None,
                    retry=_retry(),
                    timeout=TIMEOUT_SECONDS,
                )
        found = crc32c(path)
        if found == item.crc32c:
            return
    raise ConfigError(
        f"{key}: {item} arrived with crc32c {found}, twice, and Cloud Storage has {item.crc32c}: it"
        " is damaged on the way. Check the proxy between, or copy it by gcloud storage cp and give"
        " the local path."
    )


def content(item: RemoteObject, *, key: str, count: int | None = None) -> bytes:
    """What an object holds, or its first `count` bytes, without a file.

    Raises ConfigError where it cannot be read.
    """
    blob = client().bucket(item.bucket).blob(item.name, generation=item.generation)
    if item.size == 0:
        return b""
    end = None if count is None else min(count, item.size) - 1
    with _explained(key, str(item), "storage.objects.get"):
        return blob.download_as_bytes(
            end=end, raw_download=True, checksum=None, retry=_retry(), timeout=TIMEOUT_SECONDS
        )


class Note(NamedTuple):
    """A small object that processes tell each other by: its content, its generation, and how many
    seconds old it is.
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
    with _explained(key, url, "storage.objects.get"):
        try:
            blob = client().bucket(bucket).get_blob(name, retry=_retry(), timeout=TIMEOUT_SECONDS)
            if blob is None:
                return None
            content = blob.download_as_bytes(
                if_generation_match=blob.generation,
                checksum=None,
                retry=_retry(),
                timeout=TIMEOUT_SECONDS,
            )
        except NotFound:  # removed between the two requests
            return None
    return Note(content, int(blob.generation), time.time() - blob.updated.timestamp())


def write_note(url: str, content: bytes, *, replaces: int, key: str) -> int | None:
    """Writes a note in place of that generation (0: of none); its generation, or None where another
    process was faster.

    Raises:
        ConfigError: it cannot be written.
    """
    from google.api_core.exceptions import PreconditionFailed

    bucket, name = parse(url, key=key)
    blob = client().bucket(bucket).blob(name)
    with _explained(key, url, "storage.objects.create"):
        try:
            blob.upload_from_string(
                content,
                content_type="application/json",
                if_generation_match=replaces,
                checksum="crc32c",
                retry=_retry(),
                timeout=TIMEOUT_SECONDS,
            )
        except PreconditionFailed:
            return None
    return int(blob.generation)


def remove_note(url: str, generation: int, *, key: str) -> None:
    """Removes a note in that generation; one that is gone, or was written anew, is left alone."""
    bucket, name = parse(url, key=key)
    delete([RemoteObject(bucket, name, generation, 0, "")], key=key)


def crc32c(path: pathlib.Path) -> str:
    """The file's checksum in base64, as Cloud Storage writes it."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def upload(path: pathlib.Path, url: str, *, key: str) -> None:
    """Writes a file as an object, which has the new content whole or stays as it is; large ones in
    parts that can be resumed.

    Raises:
        ConfigError: it cannot be written.
    """
    bucket, name = parse(url, key=key)
    blob = (
        client()
        .bucket(bucket)
        .blob(name, chunk_size=RANGE_BYTES if path.stat().st_size > RANGE_BYTES else None)
    )
    with _explained(key, url, "storage.objects.create"):
        blob.upload_from_filename(
            str(path), checksum="crc32c", retry=_retry(), timeout=TIMEOUT_SECONDS
        )


def copy(item: RemoteObject, url: str, *, key: str) -> None:
    """Copies an object within Cloud Storage. Raises ConfigError where that is refused."""
    bucket, name = parse(url, key=key)
    source = client().bucket(item.bucket).blob(item.name, generation=item.generation)
    target = client().bucket(bucket).blob(name)
    with _explained(key, url, "storage.objects.create"):
        token, done = None, False
        while not done:  # large ones, or those of another place, take several requests
            token, _, _ = target.rewrite(
                source, token=token, retry=_retry(), timeout=TIMEOUT_SECONDS
            )
            done = token is None


def delete(objects: Sequence[RemoteObject], *, key: str) -> None:
    """Removes objects in the generation that was listed; one that is gone or was written anew is
    left alone.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    def one(item: RemoteObject) -> None:
        with (
            _explained(key, str(item), "storage.objects.delete"),
            contextlib.suppress(NotFound, PreconditionFailed),
        ):
            client().bucket(item.bucket).delete_blob(
                item.name,
                if_generation_match=item.generation,
                retry=_retry(),
                timeout=TIMEOUT_SECONDS,
            )

    each(one, objects)


@functools.cache
def client() -> Any:
    """The Cloud Storage client of this process.

    Raises ConfigError where there are no credentials, or the package is missing.
    """
    try:
        import google.auth
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage
    except ImportError:
        raise ConfigError(
            "gs:// needs the Cloud Storage client. To install it: pip install google-cloud-storage"
        ) from None
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project="emulator", credentials=AnonymousCredentials())
    try:
        credentials, project = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
    except DefaultCredentialsError:
        raise ConfigError(
            "gs://: this machine has no Google credentials. To give yours: gcloud auth"
            " application-default login; those of a service account:"
            " GOOGLE_APPLICATION_CREDENTIALS=KEY.json. A job on Vertex AI has those of its service"
            " account."
        ) from None
    return storage.Client(project=project or "-", credentials=credentials)


def identity() -> str:
    """Who asks, for messages: the service account, or the user of the application-default
    credentials.
    """
    credentials = client()._credentials
    for name in ("service_account_email", "signer_email", "account"):
        if value := getattr(credentials, name, None):
            return str(value)
    return (
        "the user of the application-default credentials"
        if type(credentials).__name__ != "AnonymousCredentials"
        else "an anonymous user"
    )


def member() -> str:
    """Who asks, as IAM writes it."""
    who = identity()
    return (
        f"serviceAccount:{who}"
        if "gserviceaccount" in who
        else f"user:{who}"
        if "@" in who
        else "user:YOU"
    )


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(PATIENCE_SECONDS)


@contextlib.contextmanager
def _explained(key: str, url: str, permission: str) -> Iterator[None]:
    """Says what Cloud Storage refuses:
    which identity, which bucket, which permission is missing.
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    bucket = parse(url, key=key)[0]
    try:
        yield
    except UserError:
        raise
    except api.NotFound as error:
        if "/o/" in str(error):
            raise GoneError(
                f"{key}: there is no object {url!r} any more. Start again: it was removed or"
                " replaced meanwhile."
            ) from None
        raise ConfigError(
            f"{key}: there is no bucket gs://{bucket}, or {identity()} may not see it. Buckets are"
            " listed by: gcloud storage ls"
        ) from None
    except api.Forbidden as error:
        raise ConfigError(
            f"{key}: {identity()} may not read or write {url}: {permission} is missing"
            f" ({_first_line(error)}). To grant it: gcloud storage buckets add-iam-policy-binding"
            f" gs://{bucket} --member={member()} --role={ROLES[permission]}"
        ) from None
    except (api.Unauthorized, auth.RefreshError, auth.InvalidOperation) as error:
        raise ConfigError(
            f"{key}: {url}: the credentials of {identity()} are refused ({_first_line(error)}). "
            "Log in again: gcloud auth application-default login"
        ) from None
    except (
        api.RetryError,
        api.TooManyRequests,
        api.ServerError,
        auth.TransportError,
        requests.exceptions.RequestException,
        ConnectionError,
    ) as error:
        raise UnavailableError(
            f"{key}: {url}: Cloud Storage does not answer ({_first_line(error)}), after"
            f" {PATIENCE_SECONDS / 60:.0f} minutes of trying. Check the connection and start again:"
            " what was fetched is kept."
        ) from None
    except (api.GoogleAPICallError, ValueError) as error:
        raise ConfigError(
            f"{key}: {url}: Cloud Storage refuses it: {_first_line(error)}."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
