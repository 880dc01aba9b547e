"""The client of Cloud Storage, who it asks as, and what its refusals mean."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.errors import ConfigError, UserError

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Client

URL = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]*[a-z0-9])(?:/(?P<name>.*))?", re.DOTALL)
TIMEOUT_SECONDS = 60.0  # of one request
PATIENCE_SECONDS = 600.0  # of a request with all its repetitions
REASON_LENGTH = 200
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


@functools.cache
def client() -> Client:
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


def retry() -> Retry:
    """Repeats a request, as long as we are patient."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(PATIENCE_SECONDS)


def identity() -> str:
    """Who asks, for messages.

    That is the service account, or the user of the application-default credentials.
    """
    credentials = client()._credentials
    for attribute in ("service_account_email", "signer_email", "account"):
        if account := getattr(credentials, attribute, None):
            return str(account)
    if type(credentials).__name__ == "AnonymousCredentials":
        return "an anonymous user"
    return "the user of the application-default credentials"


def member() -> str:
    """Who asks, as IAM writes it."""
    account = identity()
    if "gserviceaccount" in account:
        return f"serviceAccount:{account}"
    return f"user:{account}" if "@" in account else "user:YOU"


@contextlib.contextmanager
def explained(key: str, url: str, permission: str) -> Iterator[None]:
    """Says what Cloud Storage refuses in the block.

    Args:
        key: the setting that the URL comes from.
        url: what is read or written.
        permission: of IAM, that the requests of the block need; see ROLES.
    Raises:
        ConfigError: says which identity, which bucket, which permission is missing.
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
        raise _not_found(error, key, url, bucket) from None
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
        reason = _first_line(error)
        raise ConfigError(f"{key}: {url}: Cloud Storage refuses it: {reason}.") from None


def _not_found(error: Exception, key: str, url: str, bucket: str) -> ConfigError:
    """An object that has gone, or a bucket that is not there or not ours to see."""
    if "/o/" in str(error):  # the address of an object
        return GoneError(
            f"{key}: there is no object {url!r} any more. Start again: it was removed or"
            " replaced meanwhile."
        )
    return ConfigError(
        f"{key}: there is no bucket gs://{bucket}, or {identity()} may not see it. Buckets are"
        " listed by: gcloud storage ls"
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:REASON_LENGTH]
