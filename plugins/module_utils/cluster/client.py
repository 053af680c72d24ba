# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client of the Kubernetes API: get, list, watch, server-side apply, dry run, access reviews, retries.

Who asks, and by which way, is `connection`'s. Requests go straight to known URLs through the kubernetes client's
connection pool: no discovery, no model classes, JSON in and out.
A Cluster may be used by several threads at once.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.api_errors import ApiError, NotServed, Unreachable
from ansible_collections.meshops.istio.plugins.module_utils.cluster.kinds import Resource, known_resource, path_of
from ansible_collections.meshops.istio.plugins.module_utils.cluster.objects import reference
from ansible_collections.meshops.istio.plugins.module_utils.cluster.transport import Transport
from ansible_collections.meshops.istio.plugins.module_utils.cluster.writes import NOTES
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError

with contextlib.suppress(ImportError):  # connection says so
    import urllib3

#: Field manager of what we apply ourselves; Helm's objects are left to Helm's own manager, ``helm``.
FIELD_MANAGER = "meshops.istio"
PAGE = 500

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_JSON = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.9"
#: Kinds that a run makes for its own sake: nobody's cluster is another by them.
_BOOKKEEPING = ("Lease",)
_UNSERVED = "Install its CustomResourceDefinition; role crds installs those of Istio."


class Cluster(Transport):
    """A Kubernetes cluster, as its API server shows it to the credentials given.

    :arg dict params: kubernetes.core's authentication options, by their names there
    :arg float timeout: seconds that one request may take
    :raises JobError: no usable credentials, or a Python library that is missing
    """

    def __init__(self, params: dict[str, Any], timeout: float = 30.0) -> None:
        super().__init__(params, timeout)
        self._discovered: dict[str, dict[str, Resource]] = {}
        self._announced: dict[tuple[str, str], Resource] = {}
        self._lock = threading.Lock()
        self._written = NOTES.get()

    # -- kinds --------------------------------------------------------------------------------------------------------

    def resource(self, api_version: str, kind: str) -> Resource:
        """How a kind is served: from the table, else by one discovery request per group and version.

        :raises NotServed: the cluster serves no such kind
        """
        known = known_resource(api_version, kind) or self._announced.get((api_version, kind))
        if known:
            return known
        with self._lock:
            if api_version not in self._discovered:
                path = "/api/v1" if api_version == "v1" else "/apis/" + api_version
                try:
                    served = self.request("GET", path).get("resources", [])
                except ApiError as error:
                    if error.status != 404:
                        raise
                    raise NotServed(
                        f"The cluster does not serve kind {kind} of {api_version}.", fix=_UNSERVED
                    ) from error
                self._discovered[api_version] = {
                    entry["kind"]: Resource(entry["name"], entry["namespaced"])
                    for entry in served
                    if "/" not in entry["name"]
                }
            found = self._discovered[api_version].get(kind)
        if not found:
            raise NotServed(f"The cluster does not serve kind {kind} of {api_version}.", fix=_UNSERVED)
        return found

    def announce(self, definitions: Iterable[dict[str, Any]]) -> None:
        """Take note of kinds that are going to be defined: their objects then have a place before they are served."""
        for definition in definitions:
            spec = definition["spec"]
            resource = Resource(spec["names"]["plural"], spec["scope"] == "Namespaced")
            for version in spec["versions"]:
                self._announced[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = resource

    def namespaced(self, obj: dict[str, Any]) -> bool:
        """Whether an object's kind lives in namespaces."""
        return self.resource(obj["apiVersion"], obj["kind"]).namespaced

    def _path(self, obj: dict[str, Any]) -> str:
        resource = self.resource(obj["apiVersion"], obj["kind"])
        meta = obj["metadata"]
        return path_of(obj["apiVersion"], resource, meta.get("namespace"), meta["name"])

    # -- reads --------------------------------------------------------------------------------------------------------

    def version(self) -> dict[str, str]:
        """The server's version: ``major``, ``minor``, ``gitVersion``."""
        return self.request("GET", "/version")

    def now(self, strict: bool = False) -> datetime:
        """What time it is by the API server's clock: timestamps of objects can be compared with no other.

        :arg bool strict: raise where its answer does not tell, instead of looking at the clock of this machine
        :raises JobError: it does not tell; :raises Unreachable: there was no answer
        """
        _status, headers, _body = self.fetch("/version", {}, self._timeout)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return parsedate_to_datetime(headers["date"])
        if strict:  # RFC 9110, 6.6.1: each answer has a Date, unless something on the way takes it out
            raise JobError(
                "answers without a Date header, so the age of objects is unknown.",
                object=self.host,
                fix="Configure the proxy between this host and the cluster to pass the header on.",
            )
        return datetime.now(timezone.utc)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object, or None when it is not there (or its kind is not)."""
        path = path_of(api_version, self.resource(api_version, kind), namespace, name)
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        metadata_only: bool = False,
        keep: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """All objects of a kind, page by page. ``[]`` when the kind is not served.

        :arg namespace: None for all namespaces
        :arg bool metadata_only: fetch ``metadata`` alone; the objects then lack everything else
        :arg keep: what is kept of each object, taken as its page arrives, so that no more is ever held than one page
        """
        return self.list_with_version(
            api_version, kind, namespace, label_selector, field_selector, metadata_only, keep
        )[0]

    def list_with_version(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        metadata_only: bool = False,
        keep: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> tuple[list[dict[str, Any]], str]:
        """As list, with the ``resourceVersion`` that a watch goes on from."""
        path = path_of(api_version, self.resource(api_version, kind), namespace)
        query = {"limit": PAGE}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        headers = {"Accept": _METADATA_ONLY} if metadata_only else {}
        items: list[dict[str, Any]] = []
        while True:
            try:
                page = self.request("GET", path, query, headers=headers)
            except ApiError as error:
                if error.status == 404:
                    return [], "0"
                if error.status == 410 and "continue" in query:
                    # What the pages are of is compacted: all at once then, as client-go's pager does.
                    items = []
                    del query["limit"], query["continue"]
                    continue
                raise
            found = map(keep, page.get("items") or []) if keep else page.get("items") or []
            items += [{**item, "apiVersion": api_version, "kind": kind} for item in found]
            meta = page.get("metadata", {})
            if not meta.get("continue"):
                return items, meta.get("resourceVersion", "0")
            query["continue"] = meta["continue"]

    def watch(
        self, api_version: str, kind: str, namespace: str | None, resource_version: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Events of a kind from ``resource_version`` on, for at most ``seconds``.

        The iterator simply ends when the connection does; whoever needs more lists again and watches on.

        :raises ApiError: the server refuses the watch, or the version is too old (status 410)
        """
        path = path_of(api_version, self.resource(api_version, kind), namespace)
        query = {"watch": "1", "resourceVersion": resource_version, "timeoutSeconds": max(1, int(seconds))}
        try:
            response = self._send(
                "GET",
                path,
                query,
                None,
                {},
                preload_content=False,
                timeout=urllib3.Timeout(connect=10, read=seconds + 5),
            )
            if response.status >= 300:
                raise ApiError.from_body(response.status, response.read())
            rest = b""
            for chunk in response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                    yield event
        except urllib3.exceptions.HTTPError:
            return

    # -- writes -------------------------------------------------------------------------------------------------------

    def _write(
        self, method: str, path: str, query: dict[str, Any] | None, body: Any, form: str, obj: dict[str, Any]
    ) -> Any:
        """Send a request that changes an object, and take note of it; also where nobody knows, for want of an answer.

        :arg form: the body's media type
        :arg obj: names the object
        """
        headers = {"Content-Type": form} if body is not None else {}
        try:
            answer = self.request(method, path, query, body, headers)
        except (ApiError, Unreachable) as error:
            if error.maybe_done:
                self._note(query, obj)
            raise
        self._note(query, obj)
        return answer

    def _note(self, query: dict[str, Any] | None, obj: dict[str, Any]) -> None:
        if self._written is not None and "dryRun" not in (query or {}) and obj["kind"] not in _BOOKKEEPING:
            self._written.append(reference(obj))

    def apply(
        self,
        obj: dict[str, Any],
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
        force: bool = True,
        strict: bool = False,
    ) -> dict[str, Any]:
        """Server-side apply of one object.

        :arg bool force: take fields over from other managers, as declared configuration does
        :arg bool strict: refuse fields that the kind does not have, as helm does, instead of leaving them out
        :returns: the object as the server stored it, or would
        :raises ApiError: also with status 409, for a field of another manager that is not taken over
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        if strict:
            query["fieldValidation"] = "Strict"
        return self._write("PATCH", self._path(obj), query, obj, "application/apply-patch+yaml", obj)

    def patch(
        self,
        obj: dict[str, Any],
        patch: Any,
        form: str = MERGE_PATCH,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> dict[str, Any]:
        """Patch one object.

        :arg obj: names it
        :arg form: ``MERGE_PATCH`` or ``JSON_PATCH``
        :returns: the object as the server stored it, or would
        :raises ApiError: status 409 when the patch names a ``resourceVersion`` that is not the object's any more
        """
        query = {"fieldManager": manager, **({"dryRun": "All"} if dry_run else {})}
        return self._write("PATCH", self._path(obj), query, patch, form, obj)

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Create one object. :raises ApiError: status 409 when it is there already"""
        resource = self.resource(obj["apiVersion"], obj["kind"])
        path = path_of(obj["apiVersion"], resource, obj["metadata"].get("namespace"))
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self._write("POST", path, query, obj, _JSON, obj)

    def replace(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Replace one object as read before. :raises ApiError: status 409 when it has changed since"""
        return self._write("PUT", self._path(obj), {"fieldManager": FIELD_MANAGER}, obj, _JSON, obj)

    def delete(self, obj: dict[str, Any], as_read: bool = False, same: bool = False) -> bool:
        """Delete one object; False when it was not there. Its dependents go in the background.

        :arg bool as_read: only if it has not changed since it was read
        :arg bool same: only if it is the very object that was read, and not a later one of its name
        :raises ApiError: status 409 when it is not
        """
        meta = obj["metadata"]
        kept = {"uid": same or as_read, "resourceVersion": as_read}
        preconditions = {name: meta[name] for name, wanted in kept.items() if wanted and name in meta}
        query: dict[str, Any] | None = {"propagationPolicy": "Background"}
        options = None
        if preconditions:
            options = {"apiVersion": "v1", "kind": "DeleteOptions", **query, "preconditions": preconditions}
            query = None
        try:
            self._write("DELETE", self._path(obj), query, options, _JSON, obj)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    # -- rights -------------------------------------------------------------------------------------------------------

    def may(self, attributes: dict[str, str]) -> bool:
        """Whether the credentials allow something: one SelfSubjectAccessReview.

        :arg dict attributes: ``resourceAttributes`` of the review: verb, group, resource, namespace; or
            ``nonResourceAttributes``: verb, path
        """
        about = "nonResourceAttributes" if "path" in attributes else "resourceAttributes"
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {about: attributes},
        }
        path = path_of("authorization.k8s.io/v1", Resource("selfsubjectaccessreviews", False))
        return bool(
            self.request("POST", path, None, review, {"Content-Type": "application/json"})["status"].get("allowed")
        )


def served_groups(cluster: Cluster) -> dict[str, set[str]]:
    """Versions of every API group that the cluster serves: one read."""
    groups = cluster.request("GET", "/apis").get("groups") or []
    return {group["name"]: {version["version"] for version in group["versions"]} for group in groups}
