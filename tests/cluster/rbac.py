# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/rbac.yml, made from the table that preflight asks from and from the roles in Istio's own charts."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.meshops.istio.plugins.module_utils.helm import chart_lookup, charts
from ansible_collections.meshops.istio.plugins.module_utils.helm.cli import Helm
from ansible_collections.meshops.istio.plugins.module_utils.mesh import composition
from ansible_collections.meshops.istio.plugins.module_utils.mesh.parsed import MeshOptions
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.detection import PROBED_NAMESPACE
from ansible_collections.meshops.istio.plugins.module_utils.pod_security.privileges import CONSTRAINTS, POLICY
from ansible_collections.meshops.istio.plugins.module_utils.preflight import rights

VERBS = ("*", "get", "list", "watch", "create", "update", "patch", "delete")
GROUP = "rbac.authorization.k8s.io"
ACCOUNT = {"kind": "ServiceAccount", "name": "meshops-istio", "namespace": "meshops"}
#: Where a right is needed, as in the table -> the ClusterRole's name and description, and the namespaces to bind it in.
PLACES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "cluster": ("meshops-istio", "What a run does to the cluster itself.", ()),
    "control-plane": ("meshops-istio-control-plane", "What it does in Istio's namespaces.", ("istio-system",)),
    "application": ("meshops-istio-application", "What it does in applications' namespaces.", ("liveness",)),
}
HANDED_ON = "meshops-istio-handed-on"
#: Mechanism of pod security -> how its file and roles are called.
MECHANISMS = {POLICY: "psp", CONSTRAINTS: "scc"}
#: Feature -> the same, and what it is.
FEATURES = {
    rights.FROM_CLUSTER: ("proxy", "liveness_verify_from: cluster asks for the app"),
    rights.COUNTED: ("counted", "liveness_verify shall say what the proxies have counted"),
    rights.REMOVAL: ("removal", "liveness_verify_state: absent takes the app away"),
    rights.DIAGNOSIS: ("diagnose", "a diagnosis makes all of its checks"),
}
#: Components that have a file of their own, by its name, with what they are.
COMPONENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "node": ("Istio CNI or ztunnel is installed", ("cni", "ztunnel")),
    "addons": ("Prometheus or Kiali is installed", ("prometheus", "kiali")),
    "cert-manager": ("cert-manager is installed", ("cert-manager",)),
}

HEADER = """\
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The least that an account needs for site.yml, with Istio {version} in namespace istio-system and the
# application in namespace liveness. An administrator applies it once, `kubectl apply -f docs/rbac.yml`; a token
# for the account then comes from `kubectl create token meshops-istio --namespace meshops`. Preflight asks for
# exactly these rights and names each one that is missing. For a user or group instead of the ServiceAccount,
# change the bindings' subjects; for further namespaces of gateways or applications, add a RoleBinding in each.
#
# Made by tests/cluster/rbac.py from preflight/rights.py and Istio's charts; a test holds it equal to them.
"""
MECHANISM_HEADER = """\
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What an account needs beside docs/rbac.yml where {mechanism} decides which pods may run.
#
# Made by tests/cluster/rbac.py from preflight/rights.py; a test holds it equal to that.
"""
FEATURE_HEADER = """\
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What an account needs beside docs/rbac.yml where {feature}.
#
# Made by tests/cluster/rbac.py from preflight/rights.py; a test holds it equal to that.
"""
COMPONENT_HEADER = """\
# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What an account needs beside docs/rbac.yml where {what}, in its version of today.
#
# Made by tests/cluster/rbac.py from preflight/rights.py and the charts; a test holds it equal to them.
"""
HANDED_ON_COMMENT = """\
# What istiod itself is allowed to do. Kubernetes lets only those create a role who hold what is in it. The other way,
# verbs escalate and bind on roles, would be power over all of the cluster; this is not more than the account has
# anyway, since who installs istiod runs pods under its name. It changes with Istio's version.
"""


def _place(verb: str) -> tuple[int, str]:
    """Where a verb stands among others; those that few kinds have, as approve, stand at the end."""
    return (VERBS.index(verb) if verb in VERBS else len(VERBS)), verb


def merged(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rules with each resource in one of them, and resources of a group with the same verbs together.

    Rules about some objects only, or about paths, stay as they are, at the end.
    """
    verbs: dict[tuple[str, str], set[str]] = {}
    narrow = [rule for rule in rules if "resourceNames" in rule or "nonResourceURLs" in rule]
    for rule in (rule for rule in rules if rule not in narrow):
        for group, resource in product(rule["apiGroups"], rule["resources"]):
            verbs.setdefault((group, resource), set()).update(rule["verbs"])
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), found in sorted(verbs.items()):
        together.setdefault((group, tuple(sorted(found, key=_place))), []).append(resource)
    wide = [
        {"apiGroups": [group], "resources": resources, "verbs": list(found)}
        for (group, found), resources in together.items()
    ]
    return [*wide, *narrow]


def _rules(place: str, mechanism: str = "", feature: str = "") -> list[dict[str, Any]]:
    """Rights of one place; with a mechanism or a feature, those that only it needs."""
    return [
        right.rule
        for right in rights.RIGHTS
        if right.where == place
        and right.feature == feature
        and (mechanism in right.mechanisms if mechanism else not right.mechanisms)
    ]


def _handed_on(
    variables: dict[str, Any], kind: str, components: tuple[str, ...] = ("base", "istiod")
) -> list[dict[str, Any]]:
    """The rules of all roles of a kind in the charts of some components, and of gateways where istiod is among them."""
    version, repository = variables["istio_helm_chart_version"], variables["istio_helm_chart_repository"]
    helm = Helm(variables["istio_helm_helm_binary"])
    params = {
        "namespace": "istio-system",
        "components": list(components),
        "preset": "lean",
        "profile": "ambient" if "ztunnel" in components else "sidecar",
        "exposure": "NodePort",
        "gateways": [{"name": "istio-ingressgateway"}],
        "values": {},
        "chart_repository": repository,
        "chart_version": version,
        "addons_repository": variables["istio_helm_addons_repository"],
        "charts": [{"component": "cert-manager", "repository": repository}],
    }
    found: list[dict[str, Any]] = []
    for release in composition.releases(MeshOptions.of(params)):
        if release.component not in (*components, *(["gateway"] if "istiod" in components else [])):
            continue
        chart = chart_lookup.find(lambda: helm, release.chart)
        text = helm.template(release.name, release.namespace, chart.path, release.values, "1.37.0")
        found += [rule for role in charts.documents(text) if role["kind"] == kind for rule in role.get("rules") or []]
    return found


def _role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def _binding(role: str, namespace: str = "") -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": role, **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [ACCOUNT],
    }


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def text(variables: dict[str, Any]) -> str:
    """The whole file.

    :arg variables: the test bed's, which say where the charts are
    """
    account = {key: ACCOUNT[key] for key in ("name", "namespace")}
    documents: list[tuple[str, dict[str, Any]]] = [
        ("# The account.\n", _namespace(ACCOUNT["namespace"])),
        ("", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}),
    ]
    for place, (name, description, namespaces) in PLACES.items():
        rules = _rules(place)
        if place == "control-plane":
            rules += _handed_on(variables, "Role")
        documents.append((f"# {description}\n", _role(name, merged(rules))))
        for namespace in namespaces:
            documents += [("", _namespace(namespace)), ("", _binding(name, namespace))]
        if not namespaces:
            documents.append(("", _binding(name)))
    documents.append((HANDED_ON_COMMENT, _role(HANDED_ON, merged(_handed_on(variables, "ClusterRole")))))
    documents.append(("", _binding(HANDED_ON)))
    header = HEADER.format(version=variables["istio_helm_chart_version"].rpartition(".")[0])
    return header + "".join(f"---\n{comment}{_dumped(document)}" for comment, document in documents)


def component_text(name: str, variables: dict[str, Any]) -> str:
    """The whole file of what some components need beside the others.

    :arg name: key of ``COMPONENTS``
    :arg variables: the test bed's, which say where the charts are
    """
    what, components = COMPONENTS[name]
    own, handed_on = f"meshops-istio-{name}", f"meshops-istio-{name}-handed-on"
    (of_its_own,) = {composition.COMPONENTS[component].namespace for component in components}
    namespace = of_its_own or PLACES["control-plane"][2][0]
    rules = [right.rule for component in components for right in rights.OF_COMPONENTS.get(component, ())]
    rules += _handed_on(variables, "Role", components)
    documents: list[tuple[str, dict[str, Any]]] = []
    if of_its_own:
        place = PLACES["control-plane"][0]
        documents += [
            ("# It has a namespace of its own, in which the account does what it does in Istio's.\n",
             _namespace(namespace)),
            ("", _binding(place, namespace)),
        ]  # fmt: skip
    if rules:
        documents += [("", _role(own, merged(rules))), ("", _binding(own, namespace))]
    comment = "# What is installed is itself allowed to do: only those create a role who hold what is in it.\n"
    documents += [
        (comment, _role(handed_on, merged(_handed_on(variables, "ClusterRole", components)))),
        ("", _binding(handed_on)),
    ]
    header = COMPONENT_HEADER.format(what=what)
    return header + "".join(f"---\n{comment}{_dumped(document)}" for comment, document in documents)


def mechanism_text(mechanism: str) -> str:
    """The whole file of what a cluster with PodSecurityPolicy or SecurityContextConstraints needs beside the other."""
    short = MECHANISMS[mechanism]
    cluster, application, node, probe = (
        f"meshops-istio-{short}{end}" for end in ("", "-application", "-node", "-probe")
    )
    (bound_in,) = PLACES["application"][2]
    documents: list[tuple[str, dict[str, Any]]] = [
        ("# The policies, and to use them: only who may can let others.\n",
         _role(cluster, [*merged(_rules("cluster", mechanism)), *rights.uses(mechanism)])),
        ("", _binding(cluster)),
        ("# Bindings, and the workloads whose service accounts are bound.\n",
         _role(application, merged(_rules("application", mechanism)))),
        ("", _binding(application, bound_in)),
        ("# Only where Istio CNI or ztunnel is installed: to let them work on the node. Leave it out otherwise.\n",
         _role(node, [rights.use_rule(mechanism, "host")])),
        ("", _binding(node)),
    ]  # fmt: skip
    if mechanism == POLICY:
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}
        documents += [
            ("# The dry run of a pod tells whether the admission is active.\n", _role(probe, [rule])),
            ("", _binding(probe, PROBED_NAMESPACE)),
        ]
    header = MECHANISM_HEADER.format(mechanism=mechanism)
    return header + "".join(f"---\n{comment}{_dumped(document)}" for comment, document in documents)


def feature_text(feature: str) -> str:
    """The whole file of what a feature needs beside the others."""
    short, description = FEATURES[feature]
    documents: list[dict[str, Any]] = []
    for place, (_name, _description, namespaces) in PLACES.items():
        rules = merged(_rules(place, feature=feature))
        if rules:
            name = f"meshops-istio-{short}" + (f"-{place}" if documents else "")
            documents += [_role(name, rules), *(_binding(name, namespace) for namespace in namespaces or ("",))]
    header = FEATURE_HEADER.format(feature=description)
    return header + "".join(f"---\n{_dumped(document)}" for document in documents)


class _Dumper(yaml.SafeDumper):
    """YAML as people indent it; the innermost lists stay on a line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists under their key."""
        super().increase_indent(flow, False)


def _words(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    inline = all(isinstance(item, str) for item in items) and len(", ".join(map(str, items))) < 90
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=inline)


_Dumper.add_representer(list, _words)


def _dumped(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110)


def path(root: Path, what: str = "") -> Path:
    """Where it is, or where that of a mechanism or feature is."""
    short = MECHANISMS.get(what) or FEATURES.get(what, ("",))[0]
    return root / "docs" / (f"rbac-{short}.yml" if short else "rbac.yml")


def component_path(root: Path, name: str) -> Path:
    """Where that of some components is."""
    return root / "docs" / f"rbac-{name}.yml"
