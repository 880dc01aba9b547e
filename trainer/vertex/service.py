"""Vertex AI's REST API: jobs are created, followed and cancelled, models are deployed.

A refusal says who may not do what, and the remedy. CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM,
which gcloud follows too, names another address than Google's.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

from trainer.console.on_vertex import ENDPOINT as ENDPOINT_VARIABLE
from trainer.errors import ConfigError, UserError
from trainer.files import gcs

if TYPE_CHECKING:  # an optional package
    from google.api_core.retry import Retry
    from google.cloud import aiplatform_v1

    Client: TypeAlias = (
        aiplatform_v1.JobServiceClient
        | aiplatform_v1.ModelServiceClient
        | aiplatform_v1.EndpointServiceClient
    )

CONSOLE = "https://console.cloud.google.com/agent-platform/locations"
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
POLL_SECONDS = 30.0
TIMEOUT_SECONDS = 60.0
DEPLOY_SECONDS = 3600.0
PATIENCE_SECONDS = 300.0  # for an answer while a job is followed
REASON_LENGTH = 400  # characters of what the API says
INSTALL = "pip install google-cloud-aiplatform"


class JobFailedError(UserError):
    """A job that was followed ended otherwise than well."""


def types() -> ModuleType:
    """The API's types. Raises ConfigError where the package is missing."""
    try:
        from google.cloud import aiplatform_v1
    except ImportError:
        raise ConfigError(f"Vertex AI needs its client. To install it: {INSTALL}") from None
    return aiplatform_v1


def as_message(kind: str, request: Mapping[str, object]) -> object:
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
    """The jobs, models and endpoints of one project in one region."""

    def __init__(self, project: str, region: str) -> None:
        self.project = project
        self.region = region
        self.parent = f"projects/{project}/locations/{region}"

    def _client(self, kind: str) -> Client:
        """A client of one of the API's services, such as JobService, over REST."""
        google = f"https://{self.region}-aiplatform.googleapis.com"
        address = os.environ.get(ENDPOINT_VARIABLE, google)
        scheme, _, host = address.rstrip("/").rpartition("://")
        client_class = getattr(types(), f"{kind}Client")
        transport = client_class.get_transport_class("rest")(
            host=host, url_scheme=scheme or "https", credentials=gcs.client()._credentials
        )
        return client_class(transport=transport)

    def _jobs(self) -> aiplatform_v1.JobServiceClient:
        return self._client("JobService")

    def create(self, kind: str, request: Mapping[str, object]) -> str:
        """Creates a CustomJob or HyperparameterTuningJob. Returns its resource name.

        Raises:
            ConfigError: Vertex AI refuses it.
        """
        jobs = self._jobs()
        message = as_message(kind, request)
        with self._explained(f"creating the {kind}"):
            if kind == "CustomJob":
                created = jobs.create_custom_job(
                    parent=self.parent, custom_job=message, timeout=TIMEOUT_SECONDS
                )
            else:
                created = jobs.create_hyperparameter_tuning_job(
                    parent=self.parent,
                    hyperparameter_tuning_job=message,
                    timeout=TIMEOUT_SECONDS,
                )
        return str(created.name)

    def get(self, name: str) -> aiplatform_v1.CustomJob | aiplatform_v1.HyperparameterTuningJob:
        """A job by its resource name. Raises ConfigError where Vertex AI does not answer."""
        jobs = self._jobs()
        get = jobs.get_custom_job if _is_custom(name) else jobs.get_hyperparameter_tuning_job
        with self._explained(f"asking for {name}"):
            return get(name=name, timeout=TIMEOUT_SECONDS, retry=_retry())

    def require_access(self) -> None:
        """Raises ConfigError unless jobs can be listed.

        Then the API is on, and this identity may use it.
        """
        jobs = self._jobs()
        with self._explained("listing the jobs"):
            jobs.list_custom_jobs(
                request={"parent": self.parent, "page_size": 1},
                timeout=TIMEOUT_SECONDS,
                retry=_retry(),
            )

    def cancel(self, name: str) -> None:
        """Asks for the end of a job. Raises ConfigError where Vertex AI refuses."""
        jobs = self._jobs()
        cancel = (
            jobs.cancel_custom_job if _is_custom(name) else jobs.cancel_hyperparameter_tuning_job
        )
        with self._explained(f"cancelling {name}"):
            cancel(name=name, timeout=TIMEOUT_SECONDS)

    def follow(
        self, name: str, say: Callable[[str], None]
    ) -> aiplatform_v1.CustomJob | aiplatform_v1.HyperparameterTuningJob:
        """Waits for the end of a job, and says each change of its state. Returns the job.

        Raises:
            JobFailedError: it failed, was cancelled or ran out of time.
        """
        start = time.monotonic()
        last_state = ""
        while True:
            job = self.get(name)
            state = str(job.state.name).removeprefix("JOB_STATE_")
            if state != last_state:
                minutes = (time.monotonic() - start) / 60
                say(f"{state.lower().replace('_', ' ')} after {minutes:.0f} min")
                last_state = state
            if state == "SUCCEEDED":
                return job
            if state in ENDED:
                reason = job.error.message.rstrip(".")
                raise JobFailedError(
                    f"the job ended as {state}{': ' + reason if reason else ''}. Its log:"
                    f" {self.logs(name)}"
                )
            time.sleep(POLL_SECONDS)

    def upload_model(self, model: Mapping[str, object]) -> str:
        """Adds a model to the registry; waits for it.

        Returns its resource name. Raises ConfigError where it is refused.
        """
        models = self._client("ModelService")
        with self._explained("uploading the model"):
            operation = models.upload_model(
                parent=self.parent, model=as_message("Model", model), timeout=TIMEOUT_SECONDS
            )
            return str(operation.result(timeout=DEPLOY_SECONDS).model)

    def create_endpoint(self, name: str) -> str:
        """Makes an endpoint; waits for it.

        Returns its resource name. Raises ConfigError where it is refused.
        """
        endpoints = self._client("EndpointService")
        with self._explained("creating the endpoint"):
            operation = endpoints.create_endpoint(
                parent=self.parent,
                endpoint=as_message("Endpoint", {"displayName": name}),
                timeout=TIMEOUT_SECONDS,
            )
            return str(operation.result(timeout=DEPLOY_SECONDS).name)

    def deploy_model(self, endpoint: str, deployed: Mapping[str, object]) -> None:
        """Has an endpoint serve a model with all of its traffic; waits for it.

        Raises ConfigError where it is refused.
        """
        endpoints = self._client("EndpointService")
        with self._explained(f"deploying to {endpoint}"):
            endpoints.deploy_model(
                endpoint=endpoint,
                deployed_model=as_message("DeployedModel", deployed),
                traffic_split={"0": 100},
                timeout=TIMEOUT_SECONDS,
            ).result(timeout=DEPLOY_SECONDS)

    def link(self, name: str) -> str:
        """The page of a job in the console."""
        return f"{CONSOLE}/{self.region}/training/{_number(name)}?project={self.project}"

    def logs(self, name: str) -> str:
        """The command that follows a job's log."""
        return self._command("stream-logs", name)

    def cancel_command(self, name: str) -> str:
        """The command that cancels a job."""
        return self._command("cancel", name)

    def _command(self, verb: str, name: str) -> str:
        kind = "custom-jobs" if _is_custom(name) else "hp-tuning-jobs"
        return (
            f"gcloud ai {kind} {verb} {_number(name)} --region={self.region}"
            f" --project={self.project}"
        )

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turns the errors of the API, and of the way to it, into ConfigErrors."""
        import requests
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth

        try:
            yield
        except (api.GoogleAPICallError, auth.RefreshError) as error:
            raise ConfigError(self._explanation(error, doing)) from None
        except (
            api.RetryError,
            auth.TransportError,
            requests.exceptions.RequestException,
        ) as error:
            raise ConfigError(self._no_answer(error, doing)) from None

    def _explanation(self, error: Exception, doing: str) -> str:
        """What an answer of the API means, and the remedy."""
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth

        reason = _reason(error)
        if isinstance(error, api.BadRequest):
            return f"Vertex AI does not accept this, {doing}: {reason}"
        if isinstance(error, api.Forbidden):
            return (
                f"{gcs.identity()} may not do this in project {self.project}, {doing}: {reason}. To"
                f" grant it: gcloud projects add-iam-policy-binding {self.project}"
                f" --member={gcs.member()} --role=roles/aiplatform.user. Where the API is off:"
                f" gcloud services enable aiplatform.googleapis.com --project={self.project}"
            )
        if isinstance(error, api.NotFound):
            return (
                f"not found, {doing}: {reason}. Check --project={self.project} and"
                f" --region={self.region}."
            )
        if isinstance(error, api.TooManyRequests):
            return (
                f"over the quota of {self.project} in {self.region}, {doing}: {reason}. See"
                f" https://console.cloud.google.com/iam-admin/quotas?project={self.project};"
                " another --region or --accelerator may have some left."
            )
        if isinstance(error, api.Unauthorized | auth.RefreshError):
            return (
                f"the credentials are refused, {doing}: {reason}. Log in again: gcloud auth"
                " application-default login"
            )
        return self._no_answer(error, doing)

    def _no_answer(self, error: Exception, doing: str) -> str:
        return (
            f"Vertex AI does not answer, {doing}: {_reason(error)}. Try again; a job that was"
            f" created is listed by: gcloud ai custom-jobs list --region={self.region}"
            f" --project={self.project}"
        )


def _is_custom(name: str) -> bool:
    """Whether a resource name is that of a CustomJob; else it is a search."""
    return "/customJobs/" in name


def _number(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def _retry() -> Retry:
    from google.api_core import exceptions as api
    from google.api_core.retry import Retry, if_exception_type

    passing = if_exception_type(api.ServerError, api.TooManyRequests, ConnectionError)
    return Retry(predicate=passing, timeout=PATIENCE_SECONDS)


def _reason(error: Exception) -> str:
    """What was said, without the address and the request that come before it."""
    text = (getattr(error, "message", None) or str(error) or type(error).__name__).strip()
    first_line = re.sub(r"^(GET|POST|DELETE) \S+: ", "", text).splitlines()[0]
    return first_line[:REASON_LENGTH].rstrip(".")
