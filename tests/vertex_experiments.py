"""The part of Vertex AI's REST API that its Experiments take: contexts of the metadata store, and
the curves of a TensorBoard instance. Requests are checked by the library's own protos.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import json_format

# The last collection of a resource's name -> its message, and the parameter with a new one's id.
KINDS = {
    "metadataStores": (aiplatform_v1.MetadataStore, "metadataStoreId"),
    "contexts": (aiplatform_v1.Context, "contextId"),
    "artifacts": (aiplatform_v1.Artifact, "artifactId"),
    "executions": (aiplatform_v1.Execution, "executionId"),
    "tensorboards": (aiplatform_v1.Tensorboard, ""),
    "experiments": (aiplatform_v1.TensorboardExperiment, "tensorboardExperimentId"),
    "runs": (aiplatform_v1.TensorboardRun, "tensorboardRunId"),
    "timeSeries": (aiplatform_v1.TensorboardTimeSeries, ""),
}
VERBS = {
    "addContextChildren": aiplatform_v1.AddContextChildrenRequest,
    "addContextArtifactsAndExecutions": aiplatform_v1.AddContextArtifactsAndExecutionsRequest,
    "write": aiplatform_v1.WriteTensorboardRunDataRequest,
}
PATH = re.compile(r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/(?:metadataStores|tensorboards).*)")
Answer = tuple[int, dict[str, Any]]


class Experiments:
    """What was made, and what was written to it.

    Attributes:
        resources: by name, as JSON.
        children: of a context, by its name.
        curves: of each display name of a time series, its (step, value).
        available: whether it answers.
    """

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.children: dict[str, list[str]] = {}
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.available = True

    def of(self, run: str) -> dict[str, Any]:
        """The metadata of the context of that id."""
        (name,) = [name for name in self.resources if name.endswith(f"/contexts/{run}")]
        return self.resources[name]["metadata"]

    def answer(self, method: str, path: str, content: dict[str, Any]) -> Answer | None:
        """None where it is none of these methods."""
        path, _, query = path.partition("?")
        match = PATH.fullmatch(urllib.parse.unquote(path))
        if match is None:
            return None
        if not self.available:
            return 404, {"error": {"code": 404, "message": "planned"}}
        name, _, verb = match["name"].partition(":")
        try:
            if verb:
                return self._do(name, verb, content)
            if method == "POST":
                return self._create(name, dict(urllib.parse.parse_qsl(query)), content)
            if name not in self.resources:
                collection = name.rpartition("/")[2]
                if collection in KINDS:
                    return 200, {collection: self._listed(name)}
                return 404, {"error": {"code": 404, "message": f"{name} not found"}}
            if method == "PATCH":
                self.resources[name] |= self._checked(name.split("/")[-2], content)
        except json_format.ParseError as error:
            return 400, {"error": {"code": 400, "message": f"invalid request: {error}"}}
        return 200, self.resources[name]

    def _listed(self, collection: str) -> list[dict[str, Any]]:
        return [
            resource
            for name, resource in self.resources.items()
            if name.rpartition("/")[0] == collection
        ]

    def _checked(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        message = KINDS[kind][0]
        return json_format.MessageToDict(json_format.ParseDict(content, message.pb(message())))

    def _create(self, collection: str, query: dict[str, str], content: dict[str, Any]) -> Answer:
        kind = collection.rpartition("/")[2]
        name = f"{collection}/{query.get(KINDS[kind][1]) or 1000 + len(self.resources)}"
        if name in self.resources:
            return 409, {"error": {"code": 409, "message": f"{name} already exists"}}
        made = {**self._checked(kind, content), "name": name}
        self.resources[name] = made
        if kind not in ("metadataStores", "tensorboards"):
            return 200, made
        kind_name = KINDS[kind][0].__name__
        response = {"@type": f"type.googleapis.com/google.cloud.aiplatform.v1.{kind_name}", **made}
        return 200, {"name": f"{name}/operations/1", "done": True, "response": response}

    def _do(self, name: str, verb: str, content: dict[str, Any]) -> Answer:
        message = VERBS[verb]
        request = json_format.ParseDict(content, message.pb(message()))
        if verb == "addContextChildren":
            self.children.setdefault(name, []).extend(request.child_contexts)
        if verb == "write":
            for series in request.time_series_data:
                identifier = series.tensorboard_time_series_id
                shown = self.resources[f"{name}/timeSeries/{identifier}"]["displayName"]
                self.curves.setdefault(shown, []).extend(
                    (point.step, point.scalar.value) for point in series.values
                )
        return 200, {}
