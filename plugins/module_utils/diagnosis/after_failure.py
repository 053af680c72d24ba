# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a job has failed: what is wrong with the cluster, in a few seconds and at no risk of another failure."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from ansible_collections.meshops.istio.plugins.module_utils.cluster.client import Cluster
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.diagnose import Diagnosis, diagnose
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.reader import MeshReader
from ansible_collections.meshops.istio.plugins.module_utils.diagnosis.symptom import Symptom
from ansible_collections.meshops.istio.plugins.module_utils.errors import JobError
from ansible_collections.meshops.istio.plugins.module_utils.task import Scope

#: Seconds for all of it.
SECONDS = 5.0
#: Letters of a quoted message by which it is found in another quotation of it.
_ENOUGH = 40


class _Hasty(Cluster):
    """A cluster whose faults are final: there is no time to wait until they have passed."""

    def request(self, *arguments: Any, retry_for: float = 0.0, **more: Any) -> Any:
        """As Cluster.request, once."""
        return super().request(*arguments, retry_for=retry_for, **more)


def read_and_diagnose(cluster: Cluster, scope: Scope) -> Diagnosis:
    """Read a cluster, and find what is wrong with it."""
    reader = MeshReader(cluster, scope)
    found = diagnose(reader.read())
    return Diagnosis(found.findings, [*found.skipped, *reader.notes])


def explained(error: JobError, params: dict[str, Any], scope: Scope, seconds: float = SECONDS) -> dict[str, Any]:
    """What a failed task says and returns beside its message.

    :arg error: what the job itself said
    :arg params: the task's options, with the credentials
    :returns: keys of its result: ``msg`` with the cause, where there is one to tell, and ``diagnosis``
    """
    found: list[Diagnosis] = []

    def look() -> None:
        # Whatever goes wrong here, the failure that is to be explained is the one that counts.
        with contextlib.suppress(Exception):
            found.append(read_and_diagnose(_Hasty(params, timeout=seconds), scope))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        return {"msg": str(error)}
    result: dict[str, Any] = {"msg": str(error), "diagnosis": found[0].as_dict()}
    main = found[0].main
    if main and not says(error, main):
        result["msg"] = f"{error} Cause: {main}"
    return result


def says(error: JobError, cause: Symptom) -> bool:
    """Whether a failure tells a cause already: both quote the same words of somebody else, who wraps lines or not."""
    quotes = [" ".join(words.split()) for words in error.quotes]
    told = [words[:_ENOUGH] for words in cause.evidence if len(words) >= _ENOUGH // 2]
    return any(words in quote for words in told for quote in quotes)
