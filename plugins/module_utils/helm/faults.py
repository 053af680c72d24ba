# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failures of helm may not come again within seconds, by helm's words. Pure.

They are those of Go's net/http and of client-go (``apimachinery/pkg/api/errors``): helm gives neither status nor code.
"""

from __future__ import annotations

import re

#: A connection that ended, or a server that has no time.
_PASSING = (
    r"\bEOF\b",
    r"connection reset by peer|broken pipe|use of closed network connection",
    r"http2: (client connection lost|server sent GOAWAY|client connection force closed)",
    r"TLS handshake timeout|i/o timeout|Client\.Timeout exceeded|http: server closed idle connection",
    r"the server is currently unable to handle the request|503 Service Unavailable",
    r"the server has received too many requests|[Tt]oo many requests|429 Too Many Requests",
    r"the server was unable to return a response in the time allotted|504 Gateway Time-?out|502 Bad Gateway",
    r"has prevented the request from succeeding|500 Internal Server Error",
    r"etcdserver: (leader changed|request timed out|no leader)|apiserver not ready|the object has been modified",
    r"context deadline exceeded|no endpoints available for service",
)
_MAY_PASS = re.compile("|".join(_PASSING))
#: What a webhook answered, a server that is not where helm looks for it, and templates and values that end too early.
_FINAL = re.compile(
    r"denied the request|no such host|server gave HTTP response to HTTPS client"
    r"|parse error|failed to parse|error converting YAML"
)
#: Nobody listens there, or nobody is there.
_NO_SERVER = re.compile(r"\bdial tcp\b")


def may_pass(words: str, has_answered: bool) -> bool:
    """Whether the same call of helm may succeed within seconds.

    :arg words: helm's error
    :arg has_answered: whether the server was there a moment ago, so that it may be back soon
    """
    if _FINAL.search(words):
        return False
    return has_answered if _NO_SERVER.search(words) else bool(_MAY_PASS.search(words))
