# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate between helm and an API server: it shuts when so many objects of a release are written.

Then helm is in the middle of that release for certain, for as long as a test likes.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from harness.passage import Passage, Request


class Gate(Passage):
    """While it is entered, ``helm`` is a program that works on one release through the gate, and as ever on all others.

    :arg folder: for the program
    :arg real: the helm behind it
    :arg release: name of the release
    :arg int writes: so many objects are let through; the release's own records always are
    :ivar Path helm: the program
    :ivar reached: set when helm waits at the gate
    """

    def __init__(self, kubeconfig: Path, folder: Path, real: Path, release: str, writes: int = 1) -> None:
        super().__init__(kubeconfig, folder, release)
        self.helm = folder / f"helm-of-{release}"
        self.reached = threading.Event()
        self._opened = threading.Event()
        self._drops = False
        self._left = writes
        self._lock = threading.Lock()
        self.helm.write_text(
            "#!/bin/sh\n"
            f'if [ "$1 $2" = "upgrade {release}" ]; then\n'
            f"    unset HELM_KUBECONTEXT; export KUBECONFIG='{self.kubeconfig}'\n"
            "fi\n"
            f"exec '{real}' \"$@\"\n"
        )
        self.helm.chmod(0o755)

    def open(self) -> None:
        """Let helm go on."""
        self._opened.set()

    def refuse(self) -> None:
        """Let whoever waits, and all that comes after, go without an answer."""
        self._drops = True
        self._opened.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whoever still waits is left without an answer."""
        if not self._opened.is_set():
            self.refuse()
        super().__exit__(kind, error, trace)

    def take(self, request: Request) -> None:
        """Wait where it is to be waited, and hand the request on."""
        if self._lets_through(request):
            self.hand_on(request)
        else:
            request.drop()

    def _lets_through(self, request: Request) -> bool:
        if request.method == "GET" or "/secrets" in request.path:
            return True
        with self._lock:
            self._left -= 1
            shut = self._left < 0
        if shut:
            self.reached.set()
            self._opened.wait()
        return not (shut and self._drops)
