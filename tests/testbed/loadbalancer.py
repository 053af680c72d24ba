#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Plays a cloud whose load balancers have host names, as AWS' have: loadbalancer.py KUBECONFIG

Each Service of type LoadBalancer gets a name in its status, by which nobody will ever be found: there is no load
balancer, and the name ends in .example. A Service with a class of load balancer is left to whoever serves that class.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

DOMAIN = "elb.eu-central-1.amazonaws.example"
WATCH_SECONDS = 300


def hostname(service: dict) -> str:
    """The name that AWS would give: 32 digits of the Service's UID, and 16 that no other load balancer had."""
    uid = service["metadata"]["uid"].replace("-", "")
    return f"a{uid[:31]}-{uid[-16:]}.{DOMAIN}"


def wanted(service: dict) -> dict | None:
    """The status that the Service is to get; None if it is as it should be, or not ours."""
    spec, ingress = service["spec"], service.get("status", {}).get("loadBalancer", {}).get("ingress")
    ours = spec.get("type") == "LoadBalancer" and "loadBalancerClass" not in spec
    name = [{"hostname": hostname(service)}]
    if service["metadata"].get("deletionTimestamp") or not ours or ingress == name:
        return None
    return {"status": {"loadBalancer": {"ingress": name}}}


class Server:
    """The API server that a kubeconfig of the bed names."""

    def __init__(self, kubeconfig: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=ca)
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self._open, self._url = urllib.request.build_opener(*handlers).open, cluster["server"]
        self._headers = {"Authorization": f"Bearer {content['users'][0]['user']['token']}"}

    def request(self, path: str, method: str = "GET", body: dict | None = None) -> http.client.HTTPResponse:
        """The answer to a request, with a merge patch as its body if there is one."""
        headers = self._headers | {"Content-Type": "application/merge-patch+json"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 - https only
        return self._open(request, timeout=WATCH_SECONDS + 30)

    def services(self) -> Iterator[dict]:
        """Every Service there is, then each that is new or has changed, until the server ends the watch."""
        with self.request("/api/v1/services") as answer:
            listed = json.load(answer)
        yield from listed["items"]
        version = listed["metadata"]["resourceVersion"]
        query = f"watch=true&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        with self.request(f"/api/v1/services?{query}") as answer:
            for line in answer:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]

    def serve(self, service: dict) -> None:
        """Gives the Service what it is to have; one that is gone by now needs nothing."""
        status, metadata = wanted(service), service["metadata"]
        if not status:
            return
        try:
            path = f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}/status"
            self.request(path, "PATCH", status).close()
            print(f"{metadata['namespace']}/{metadata['name']}: {hostname(service)}", flush=True)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise


def serve(kubeconfig: Path) -> None:
    """Serves until the watch ends, or the API server goes; one that comes back is asked anew."""
    try:
        server = Server(kubeconfig)
        for service in server.services():
            server.serve(service)
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(error, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    while True:
        serve(Path(sys.argv[1]))
