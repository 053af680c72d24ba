#!/usr/bin/env python3
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install Istio with site.yml and show the response that came through its gateway.

demo.py                      on a kind cluster that the test bed creates or reuses
demo.py --kubeconfig FILE    on the cluster of that kubeconfig, like the guide's KVM path
demo.py --down               delete the kind cluster
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import environments

ROOT = environments.ROOT
CLUSTER = "meshops-demo"
KIND_KUBECONFIG = ROOT / f"build/testbed/{CLUSTER}/kubeconfig"
KIND_VARIABLES = ROOT / "inventories/kind/group_vars/all/testbed.yml"
REPORTS = ROOT / "build/demo"


def run(*command: str | Path) -> None:
    """Run a command with its output on ours; end with its exit status if it fails."""
    print(f"\n$ {' '.join(map(str, command))}", flush=True)
    code = subprocess.run([str(word) for word in command], cwd=ROOT, check=False).returncode
    if code != 0:
        sys.exit(code)


def testbed(*arguments: str | Path) -> None:
    """Call the test bed."""
    run(sys.executable, "tests/testbed", *arguments)


def install(inventory: str, variables: Path | None) -> None:
    """Run site.yml, which leaves its report in REPORTS."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    more = ["-e", f"@{variables}"] if variables else []
    run("ansible-playbook", "site.yml", "-i", inventory, "-e", f"istio_report_directory={REPORTS}", *more)


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--kubeconfig", type=Path, help="use this cluster instead of creating one")
    choice.add_argument("--down", action="store_true", help="delete the kind cluster")
    parser.add_argument("--vars", type=Path, help="file with more variables for site.yml")
    arguments = parser.parse_args()
    if arguments.down:
        testbed("down", "--name", CLUSTER)
        return 0

    started = time.monotonic()
    venv = environments.ensure("dev")
    os.environ["PATH"] = f"{venv}/bin{os.pathsep}{os.environ['PATH']}"
    # Where Ansible keeps its temporary files; the user's home stays as it is.
    os.environ["ANSIBLE_HOME"] = str(ROOT / "build/ansible")
    if arguments.kubeconfig:
        kubeconfig, inventory = arguments.kubeconfig.expanduser().resolve(), "inventories/kvm"
        if not kubeconfig.is_file():
            parser.error(f"kubeconfig {kubeconfig} does not exist")
        os.environ["K8S_AUTH_KUBECONFIG"] = str(kubeconfig)
    else:
        kubeconfig, inventory = KIND_KUBECONFIG, "inventories/kind"
        testbed("up", "--name", CLUSTER, "--kubeconfig", KIND_KUBECONFIG, "--vars", KIND_VARIABLES)
    install(inventory, arguments.vars)

    reports = sorted(REPORTS.glob("*.json"))
    for report in reports:
        seen = json.loads(report.read_text())["evidence"]
        print(f"\n{seen['url']}\n{seen['status']}\nserver: {seen['server']}")
    print(f"{time.monotonic() - started:.0f} s in total")
    print("Next steps:")
    print(f"  . .venv/bin/activate && ansible-playbook site.yml -i {inventory}    (a second run changes nothing)")
    print(f"  export KUBECONFIG={kubeconfig}")
    if not arguments.kubeconfig:
        print("  make down")
    for report in reports:
        print(f"Report: {report.with_suffix('.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
