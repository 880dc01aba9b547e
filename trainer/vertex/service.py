"""Vertex AI's REST API: jobs are created, followed and cancelled; refusals say who, what and the
remedy.

CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM, which gcloud follows too, names another address than
Google's.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainer.errors import ConfigError, UserError
from trainer.files import gcs

ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"
CONSOLE = "https://console.cloud.google.com/agent-platform/locations"
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
POLL_SECONDS = 30.0
TIMEOUT_SECONDS = 60.0
DEPLOY_SECONDS = 3600.0
PATIENCE_SECONDS = 300.0  # for an answer while a job is followed
INSTALL = "pip install google-cloud-aiplatform"


class JobFailedError(UserError):
    """A job that was followed ended otherwise than well."""


def types() -> Any:
    """The API's types. Raises ConfigError where the package is missing."""
    try:
        from google.cloud import aiplatform_v1
    except ImportError:
        raise ConfigError(f"Vertex AI needs its client. To install it: {INSTALL}") from None
    return aiplatform_v1


def as_message(kind: str, request: Mapping[str, Any]) -> Any:
    """A request, given as its JSON, as the API's own message of that kind.

    Raises ValueError where it is none.
    """
    from google.protobuf import json_format

    message = getattr(types(), kind)
    try:
        return message.wrap(json_format.ParseDict(dict(request), message.pb(message())))
    except json_format.ParseError as error:
        raise ValueError(f"{kind}: {error}") from None


class Service:
    """The jobs of one project in one region."""

    def __init__(self, project: str, region: str) -> None:
        self.project = project
        self.region = region
        self.parent = f"projects/{project}/locations/{region}"

    def _client(self, kind: str) -> Any:
        address = os.environ.get(
            ENDPOINT_VARIABLE, f"https://{self.region}-aiplatform.googleapis.com"
        )
        scheme, _, host = address.rstrip("/").rpartition("://")
        api = types()
        transport = getattr(api, f"{kind}Client").get_transport_class("rest")
        return getattr(api, f"{kind}Client")(
            transport=transport(
                host=host, url_scheme=scheme or "https", credentials=gcs.client()._credentials
            )
        )

    def create(self, kind: str, request: Mapping[str, Any]) -> str:
        """Creates a CustomJob or HyperparameterTuningJob. Returns its resource name.

        Raises:
            ConfigError: Vertex AI refuses it.
        """
        method, field = {
            "CustomJob": ("create_custom_job", "custom_job"),
            "HyperparameterTuningJob": (
                "create_hyperparameter_tuning_job",
                "hyperparameter_tuning_job",
            ),
        }[kind]
        with self._explained(f"creating the {kind}"):
            made = getattr(self._client("JobService"), method)(
                parent=self.parent, timeout=TIMEOUT_SECONDS, **{field: as_message(kind, request)}
            )
        return made.name

    def state(self, name: str) -> tuple[str, str, Any]:
        """The state of a job, such as RUNNING; what went wrong, or nothing; and the job."""
        client = self._client("JobService")
        with self._explained(f"asking for {name}"):
            get = (
                client.get_custom_job
                if "/customJobs/" in name
                else client.get_hyperparameter_tuning_job
            )
            job = get(name=name, timeout=TIMEOUT_SECONDS, retry=_retry())
        return job.state.name.removeprefix("JOB_STATE_"), job.error.message, job

    def require_access(self) -> None:
        """Raises ConfigError unless jobs can be listed: the API is on, and this identity may use
        it.
        """
        client = self._client("JobService")
        with self._explained("listing the jobs"):
            client.list_custom_jobs(
                request={"parent": self.parent, "page_size": 1},
                timeout=TIMEOUT_SECONDS,
                retry=_retry(),
            )

    def cancel(self, name: str) -> None:
        """Asks for the end of a job."""
        client = self._client("JobService")
        with self._explained(f"cancelling {name}"):
            (
                client.cancel_custom_job
                if "/customJobs/" in name
                else client.cancel_hyperparameter_tuning_job
            )(name=name, timeout=TIMEOUT_SECONDS)

    def follow(self, name: str, say: Callable[[str], None]) -> Any:
        """Waits for the end of a job, and says each change of its state. Returns the job.

        Raises:
            JobFailedError: it failed, was cancelled or ran out of time.
        """
        before, start = "", time.monotonic()
        while True:
            state, problem, job = self.state(name)
            if state != before:
                say(
                    f"{state.lower().replace('_', ' ')} after"
                    f" {(time.monotonic() - start) / 60:.0f} min"
                )
                before = state
            if state == "SUCCEEDED":
                return job
            if state in ENDED:
                raise JobFailedError(
                    f"the job ended as {state}{': ' + problem.rstrip('.') if problem else ''}. Its"
                    f" log: {self.logs(name)}"
                )
            time.sleep(POLL_SECONDS)

    def upload_model(self, model: Mapping[str, Any]) -> str:
        """Adds a model to the registry; waits for it.

        Returns its resource name. Raises ConfigError where it is refused.
        """
        with self._explained("uploading the model"):
            return (
                self._client("ModelService")
                .upload_model(
                    parent=self.parent, model=as_message("Model", model), timeout=TIMEOUT_SECONDS
                )
                .result(timeout=DEPLOY_SECONDS)
                .model
            )

    def create_endpoint(self, name: str) -> str:
        """Makes an endpoint; waits for it.

        Returns its resource name. Raises ConfigError where it is refused.
        """
        with self._explained("creating the endpoint"):
            made = as_message("Endpoint", {"displayName": name})
            return (
                self._client("EndpointService")
                .create_endpoint(parent=self.parent, endpoint=made, timeout=TIMEOUT_SECONDS)
                .result(timeout=DEPLOY_SECONDS)
                .name
            )

    def deploy_model(self, endpoint: str, deployed: Mapping[str, Any]) -> None:
        """Has an endpoint serve a model with all of its traffic; waits for it.

        Raises ConfigError where it is refused.
        """
        with self._explained(f"deploying to {endpoint}"):
            self._client("EndpointService").deploy_model(
                endpoint=endpoint,
                deployed_model=as_message("DeployedModel", deployed),
                traffic_split={"0": 100},
                timeout=TIMEOUT_SECONDS,
            ).result(timeout=DEPLOY_SECONDS)

    def link(self, name: str) -> str:
        """The page of a job in the console."""
        return f"{CONSOLE}/{self.region}/training/{name.rpartition('/')[2]}?project={self.project}"

    def logs(self, name: str) -> str:
        """The command that follows a job's log."""
        return self._command("stream-logs", name)

    def cancel_command(self, name: str) -> str:
        """The command that cancels a job."""
        return self._command("cancel", name)

    def _command(self, verb: str, name: str) -> str:
        kind = "custom-jobs" if "/customJobs/" in name else "hp-tuning-jobs"
        return (
            f"gcloud ai {kind} {verb} {name.rpartition('/')[2]} --region={self.region}"
            f" --project={self.project}"
        )

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        import requests
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth

        try:
            yield
        except api.BadRequest as error:
            raise ConfigError(f"Vertex AI does not accept this, {doing}: {_first(error)}") from None
        except api.Forbidden as error:
            raise ConfigError(
                f"{gcs.identity()} may not do this in project {self.project}, {doing}:"
                f" {_first(error)}. To grant it: gcloud projects add-iam-policy-binding"
                f" {self.project} --member={gcs.member()} --role=roles/aiplatform.user. Where the"
                " API is off: gcloud services enable aiplatform.googleapis.com"
                f" --project={self.project}"
            ) from None
        except api.NotFound as error:
            raise ConfigError(
                f"not found, {doing}: {_first(error)}. Check --project={self.project} and"
                f" --region={self.region}."
            ) from None
        except api.TooManyRequests as error:
            raise ConfigError(
                f"over the quota of {self.project} in {self.region}, {doing}: {_first(error)}. See"
                f" https://console.cloud.google.com/iam-admin/quotas?project={self.project};"
                " another --region or --accelerator may have some left."
            ) from None
        except (api.Unauthorized, auth.RefreshError) as error:
            raise ConfigError(
                f"the credentials are refused, {doing}: {_first(error)}. Log in again: gcloud auth"
                " application-default login"
            ) from None
        except (
            api.GoogleAPICallError,
            api.RetryError,
            auth.TransportError,
            requests.exceptions.RequestException,
        ) as error:
            raise ConfigError(
                f"Vertex AI does not answer, {doing}: {_first(error)}. Try again; a job that was"
                f" created is listed by: gcloud ai custom-jobs list --region={self.region}"
                f" --project={self.project}"
            ) from None


def _retry() -> Any:
    from google.api_core import exceptions as api
    from google.api_core.retry import Retry, if_exception_type

    passing = if_exception_type(api.ServerError, api.TooManyRequests, ConnectionError)
    return Retry(predicate=passing, timeout=PATIENCE_SECONDS)


def _first(error: Exception) -> str:
    """What was said, without the address and the request that come before it."""
    text = (getattr(error, "message", None) or str(error) or type(error).__name__).strip()
    return re.sub(r"^(GET|POST|DELETE) \S+: ", "", text).splitlines()[0][:400].rstrip(".")
