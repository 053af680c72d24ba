# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The codes of findings: how severe each is, its cause, how to see it, and the fix.

This table is the one place where their meaning is written: tests/tools/findings_page.py makes docs/findings.md of it.
The texts are Markdown, in the order of the page.
"""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True)
class Code:
    """What a code means.

    :ivar str severity: ``error`` stops a run, ``warning`` does not
    :ivar str cause: what is wrong, and why it matters
    :ivar str see: how a user sees it with own eyes
    :ivar str fix: what to do, as commands or variables that can be typed
    """

    severity: str
    cause: str
    see: str
    fix: str


CODES: dict[str, Code] = {
    # -- the way to the cluster ----------------------------------------------------------------------------------------
    "api-unreachable": Code(
        ERROR,
        "The API server does not answer, or its certificate is not trusted.",
        '`kubectl version` from the same machine: a timeout is the network or a proxy, "connection refused" a wrong '
        'port or a server that is down, "certificate signed by unknown authority" a missing CA.',
        "Correct the address in the kubeconfig (or `K8S_AUTH_HOST`), or give the CA (`K8S_AUTH_SSL_CA_CERT`). In AWX, "
        "requests come from the execution environment, not from your desk.",
    ),
    "api-unauthorized": Code(
        ERROR,
        "There are no usable credentials, or the API server does not accept them: expired, revoked, of another "
        "cluster.",
        "`kubectl auth whoami`, with the same kubeconfig and context.",
        "Renew them, or name others: `istio_kubeconfig` and `istio_context` for a host, or the `K8S_AUTH_*` "
        "environment. A kubeconfig that logs in by a program (an exec plugin) needs that program where the task runs.",
    ),
    "tls-unverified": Code(
        ERROR,
        "The server's certificate is not checked, so that anybody on the way can read the token. AWX's Kubernetes "
        "credential turns the check off when its CA field is empty.",
        "`insecure-skip-tls-verify` in the kubeconfig, or `K8S_AUTH_VERIFY_SSL`.",
        "Give the CA. To accept the risk: `preflight_ignore: [tls-unverified]`.",
    ),
    "cluster-twice": Code(
        ERROR,
        "Two hosts of the play turned out to be the same cluster: their namespaces `kube-system` have one UID. Each "
        "would overwrite the other's installation. AWX's built-in credential is one for the whole job, so that every "
        "host gets it.",
        "`kubectl get namespace kube-system -o jsonpath={.metadata.uid}` with each host's kubeconfig.",
        "Give each host a cluster of its own by `istio_kubeconfig` and `istio_context`, or leave one host out: "
        "`--limit HOST`.",
    ),
    # -- programs and charts -------------------------------------------------------------------------------------------
    "helm-missing": Code(
        ERROR,
        "helm is not on `PATH`, not where `istio_helm_helm_binary` says, or cannot be run.",
        "`helm version` as the user that runs Ansible, in the same execution environment.",
        "Install helm, name it by `istio_helm_helm_binary`, or let role preflight fetch it: "
        "`preflight_fetch_tools: true`. In check mode nothing is fetched.",
    ),
    "helm-unsupported": Code(
        ERROR,
        "helm is older than 3.17, of a major after 4, or cannot install this Istio: the schema of Istio 1.27's gateway "
        "chart stops Helm 4.",
        "`helm version`.",
        "As for `helm-missing`. For Istio 1.27, Helm 3.",
    ),
    "istioctl-missing": Code(
        ERROR,
        "The application is to be injected manually (`liveness_verify_injection: manual`), and istioctl is not on "
        "`PATH`, or not where `istio_helm_istioctl_binary` says; or `preflight_istioctl_binary` names none.",
        "`istioctl version --remote=false` as the user that runs Ansible, in the same execution environment.",
        "Install the istioctl of your Istio's version, or name it by `istio_helm_istioctl_binary`. Automatic injection "
        "needs none.",
    ),
    "istioctl-skewed": Code(
        WARNING,
        "istioctl is more than one minor away from the Istio that is going to be installed. Its analyses may be wrong, "
        "and manual injection may not understand the template of the sidecar.",
        "`istioctl version --remote=false`.",
        "Install the istioctl of the same minor and name it by `istio_helm_istioctl_binary`.",
    ),
    "chart-missing": Code(
        ERROR,
        "A chart cannot be had from `istio_helm_chart_repository`: it is not there, or is there in another version; "
        "the server cannot be reached, is not trusted, or refuses the login. The message says which.",
        "`helm show chart base --repo https://blob.istio.io/istio-release/charts --version 1.31.1`, with your "
        "own values; for an OCI registry `helm show chart oci://HOST/PATH/base --version 1.31.1`.",
        "Correct `istio_helm_chart_repository` or `istio_helm_chart_version`. For a login, set "
        "`istio_helm_chart_repository_username` and `istio_helm_chart_repository_password`; for a CA of your own, "
        "`istio_helm_chart_repository_ca_file`. Without a way to the internet, put the charts `base`, `istiod` and "
        "`gateway` into a directory, as `NAME/` or `NAME-VERSION.tgz`, and name the directory.",
    ),
    "chart-source-retired": Code(
        ERROR,
        "A chart cannot be had from where the settings say, and that place ends: Istio publishes nothing newer than "
        "1.30 at `istio-release.storage.googleapis.com` and `gcr.io/istio-release`, and removes both, and "
        "`registry.istio.io`, in December 2026.",
        "`helm show chart base --repo https://istio-release.storage.googleapis.com/charts --version 1.31.1` says that "
        "there is no such version; Istio's announcement is at istio.io/latest/blog/2026/retirement-of-gcp.",
        "Leave `istio_helm_chart_repository` out, whose default is `https://blob.istio.io/istio-release/charts`, or "
        "use `oci://ghcr.io/istio/release/charts`. Both have the charts of all versions. `repository` in "
        "`istio_helm_charts` likewise.",
    ),
    "chart-source-retiring": Code(
        WARNING,
        "As for `chart-source-retired`, only that the chart could still be had, or is kept from an earlier run. "
        "Another machine, or this one next month, gets none.",
        "`istio_helm_chart_repository`, and `repository` in `istio_helm_charts`.",
        "As for `chart-source-retired`. Nothing is upgraded for it where the charts are the same.",
    ),
    "image-source-retired": Code(
        WARNING,
        "Images come from `gcr.io/istio-release` or `registry.istio.io`, which Istio removes in December 2026 and "
        "which hold nothing newer than 1.30: by the settings (1.30's own charts default to `registry.istio.io`), or in "
        "pods that run. What runs goes on; a pod that is started on a node without the image waits for ever.",
        "`kubectl get pods --all-namespaces -o jsonpath='{..image}' | tr ' ' '\\n' | sort | uniq -c`.",
        "`istio_helm_hub: docker.io/istio`. Docker Hub limits how often a node may pull without a login, so better "
        "name a pull-through cache of yours. `hub` in `istio_helm_values` does not reach every image, `global.hub` "
        "does. Run `site.yml`, then replace the pods: `kubectl rollout restart deployment -n NAMESPACE`. Where the "
        "nodes have a mirror for the old name: `preflight_ignore: [image-source-retired]`.",
    ),
    "chart-unverified": Code(
        ERROR,
        "A chart is not the one that `istio_helm_chart_digests` or a signature tells: it was published anew, changed "
        "on the way, or pinned wrongly. Or there is nothing to verify it by: no digest of this chart where others have "
        "one, no `.prov` file, or a chart that is a directory and no package.",
        "`helm pull istio/base --version 1.31.1 && sha256sum base-1.31.1.tgz`; in an OCI registry that is the digest "
        "of the layer with the chart. For a signature: `helm verify base-1.31.1.tgz --keyring FILE`.",
        "Find out who has changed it. Only then write the new digest into `istio_helm_chart_digests`, or add the "
        "publisher's public key to the file of `istio_helm_chart_keyring`. What was refused is not kept.",
    ),
    "chart-refused": Code(
        ERROR,
        "helm cannot render a chart with these values: one has the wrong type, or the chart's schema knows no such "
        "value. Helm's words are in the message.",
        "`helm template RELEASE CHART --values FILE`.",
        "Correct `istio_helm_values`, or `values` of the gateway in `istio_helm_gateways`.",
    ),
    "component-renamed": Code(
        WARNING,
        "`istio_helm_components` names a component as the chart of 2018 did. It is understood: the message says what "
        "does its work today, and since when, and that is installed.",
        "The table in docs/guide.md has all names of then and now.",
        "Use today's names: `base`, `istiod`, `cni`, `ztunnel`, `prometheus`, `grafana`, `jaeger`, `kiali`, "
        "`cert-manager`, `istio-csr`.",
    ),
    "istio-cni-missing": Code(
        WARNING,
        "The settings of the platform (OpenShift's) have istiod leave the redirection of traffic to Istio CNI, and "
        "this run does not install it.",
        "`kubectl get pods`: pods with a sidecar stay in `Init`, and container `istio-validation` says that the "
        "rules are missing.",
        "`istio_helm_components: [base, istiod, cni]`. If Istio CNI is there already, by somebody else: "
        '`preflight_ignore: [istio-cni-missing]`. To go without the platform\'s settings: `istio_helm_platform: ""`.',
    ),
    "addon-quick-start": Code(
        WARNING,
        "An addon (Prometheus, Grafana, Jaeger, Kiali) is installed from Istio's own manifest, which Istio made for "
        "a quick start: one replica, no storage, no login. It says itself that this may not be suitable for "
        "production.",
        "`samples/addons/README.md` in a release of Istio.",
        "For production, name the chart of that project: `istio_helm_charts: [{component: prometheus, repository: URL, "
        "version: VERSION}]`, with values in `istio_helm_values`. To accept it: `preflight_ignore: "
        "[addon-quick-start]`.",
    ),
    # -- versions ------------------------------------------------------------------------------------------------------
    "kubernetes-too-old": Code(
        ERROR,
        "This Istio does not support the cluster's version of Kubernetes any more.",
        "`kubectl version`; the range is in the message.",
        "Upgrade the cluster, or choose an older Istio: `istio_helm_chart_version`.",
    ),
    "kubernetes-untested": Code(
        WARNING,
        "The cluster is newer than what this Istio is known to run on.",
        "`kubectl version`; the range is in the message.",
        "Nothing at once; a newer Istio may be tested on it.",
    ),
    "istio-unknown": Code(
        WARNING,
        "The support table of this collection does not hold this Istio minor, so Kubernetes' version was not compared.",
        'Istio\'s own table, at istio.io under "Supported Releases".',
        "Choose a minor that the message names, or compare yourself and go on.",
    ),
    # -- rights and room -----------------------------------------------------------------------------------------------
    "pod-security-unknown": Code(
        ERROR,
        "The cluster serves PodSecurityPolicy (Kubernetes 1.24 and older). Whether its admission is on, only the dry "
        "run of a pod can tell, and something else refused that pod: a missing right, a quota, a webhook.",
        "`kubectl run probe --image=none --namespace=default --dry-run=server`.",
        "Allow the account to create pods in namespace `default` (nothing is stored; [rbac-psp.yml](rbac-psp.yml) has "
        "the right), or name the mechanism by `psp_rbac_mechanism`.",
    ),
    "right-missing": Code(
        ERROR,
        "The credentials lack a right that the run needs. There is one finding for each verb and resource. Checks that "
        "need what may not be read are left out.",
        "`kubectl auth can-i VERB RESOURCE --namespace NAMESPACE`.",
        "Bind the ClusterRoles in [rbac.yml](rbac.yml) to this user, with PodSecurityPolicy or on OpenShift also those "
        "in [rbac-psp.yml](rbac-psp.yml) or [rbac-scc.yml](rbac-scc.yml), with `liveness_verify_from: cluster` that in "
        "[rbac-proxy.yml](rbac-proxy.yml), or use other credentials.",
    ),
    "room-none": Code(
        ERROR,
        "A pod that is about to be created requests more than any node has free. Pods that already run are not counted "
        "again.",
        '`kubectl describe nodes`, under "Allocated resources".',
        "Make room, add a node, or request less: "
        "`istio_helm_values: {istiod: {resources: {requests: {cpu: 100m, memory: 512Mi}}}}`.",
    ),
    "room-short": Code(
        WARNING,
        "Less than 4 CPUs and 8 GB are free on all nodes together. That is the guide's advice for an installation of "
        "all components.",
        "The message has the figures.",
        "Nothing for a small mesh. The thresholds are `preflight_recommended_cpu` and `preflight_recommended_memory`.",
    ),
    # -- ports and addresses -------------------------------------------------------------------------------------------
    "node-port-out-of-range": Code(
        ERROR,
        "A node port in `istio_helm_gateways` is not in the range that the API server gives out.",
        "The range is in the message. Kubernetes' default is 30000-32767.",
        "Choose a port inside it.",
    ),
    "node-port-taken": Code(
        ERROR,
        "Another Service holds a node port that `istio_helm_gateways` pins. Services of type LoadBalancer hold some "
        "too, for their ports and for the health check of `externalTrafficPolicy: Local`.",
        "`kubectl get services --all-namespaces | grep PORT`.",
        "Choose another port, or change that Service. A Service that is being deleted frees its port when it is gone.",
    ),
    "load-balancer-missing": Code(
        ERROR,
        "A gateway is of type LoadBalancer, and nothing was found that would give it an address: no Service has one, "
        "no node belongs to a known cloud, and no provider runs in the cluster (MetalLB, kube-vip, Cilium and others).",
        "`kubectl get services --all-namespaces | grep LoadBalancer`: `<pending>` is one without an address. "
        "`kubectl get nodes -o jsonpath={.items[*].spec.providerID}` names the cloud.",
        "Use node ports, as the guide does on KVM: `istio_helm_exposure: NodePort`. Or install a provider, such as "
        "MetalLB. If one is at work that cannot be seen from inside (cloud-provider-kind, an appliance): "
        "`preflight_ignore: [load-balancer-missing]`.",
    ),
    "load-balancer-no-pool": Code(
        ERROR,
        "MetalLB runs, or Cilium, but has no pool of addresses to give away. A gateway of type LoadBalancer would wait "
        "for ever.",
        "`kubectl get ipaddresspools --all-namespaces` for MetalLB, `kubectl get ciliumloadbalancerippools` for "
        "Cilium.",
        "Create a pool of addresses that lead to the nodes; MetalLB wants an `L2Advertisement` or a "
        "`BGPAdvertisement` beside it.",
    ),
    "load-balancer-pending": Code(
        WARNING,
        "The nodes belong to a cloud, and yet no Service of type LoadBalancer got an address in minutes. The cloud's "
        "controller may lack rights, quota or a subnet.",
        '`kubectl describe service NAME`, under "Events".',
        "Mend what the events say, or use `istio_helm_exposure: NodePort`.",
    ),
    "load-balancer-unable": Code(
        ERROR,
        "A gateway asks for an internal load balancer or for a certain address, and the provider of this cluster has "
        "none, or nobody here knows how it is asked. A public one instead of an internal one would be worse than none.",
        "`kubectl get nodes -o jsonpath={.items[*].spec.providerID}` names the cloud; the table is in "
        "[role istio_helm](../roles/istio_helm/README.md#load-balancers).",
        "What the message says. Where the provider was not found: `istio_helm_provider: NAME`. Where it is none of the "
        "table: leave `internal` out, and give the gateway what the provider documents by `annotations`.",
    ),
    # -- what is there already -----------------------------------------------------------------------------------------
    "istio-by-other-release": Code(
        ERROR,
        "Istiod is there, of a Helm release with another name or namespace. Helm does not let two releases own one "
        "object, and two istiods of one revision inject the same pods.",
        "`helm list --all-namespaces`.",
        "Name the same namespace (`istio_helm_namespace`), uninstall that release, or run yours beside it as another "
        "revision: `istio_helm_revision: NAME`.",
    ),
    "istio-not-by-helm": Code(
        ERROR,
        "Istiod is there and belongs to no Helm release: istioctl made it, or kubectl. Helm refuses to take over what "
        "it does not own.",
        "`kubectl get deployment istiod -n istio-system -o yaml`: labels `operator.istio.io/managed` and "
        "`install.operator.istio.io/owning-resource` are istioctl's.",
        "Remove it, which interrupts the mesh: `istioctl uninstall --purge`. Or run yours beside it as another "
        "revision: `istio_helm_revision: NAME`.",
    ),
    "istio-by-operator": Code(
        ERROR,
        "An operator looks after Istio here: the Sail operator, or the operator of Istio's own until 1.23. It would "
        "undo what helm does, and helm what it does.",
        "`kubectl get istios.sailoperator.io`, `kubectl get istiooperators.install.istio.io --all-namespaces`.",
        "Let one of them manage Istio: delete the operator's resource that the message names, or leave Istio to it.",
    ),
    "istio-other-revision": Code(
        WARNING,
        "An istiod of another revision runs beside. That is how Istio is upgraded step by step; a namespace's label "
        "`istio.io/rev` says which one injects its pods.",
        "`kubectl get deployments --all-namespaces -l istio=pilot -L istio.io/rev`.",
        "Nothing, if it is meant. Else uninstall the revision that no namespace names any more.",
    ),
    "gateway-not-listed": Code(
        WARNING,
        "A Helm release of the gateway chart is in one of the run's namespaces, of the revision that the run installs, "
        "and the run does not list it: it was taken off `istio_helm_gateways`, or somebody else installs it. It goes "
        "on answering by its address and its node ports; a run proves only what it lists.",
        "`helm list --all-namespaces`, `kubectl get services --all-namespaces -l istio`.",
        "List it in `istio_helm_gateways` again, or remove it: `helm uninstall NAME --namespace NAMESPACE`.",
    ),
    "webhook-blocks": Code(
        ERROR,
        "A webhook of an Istio that is gone is still called: its Service does not exist and its policy is `Fail`, so "
        "that pods, or Istio's own objects, are refused.",
        "`kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations | grep istio`.",
        "Delete the configuration that the message names, such as "
        "`kubectl delete mutatingwebhookconfiguration istio-sidecar-injector`.",
    ),
    "webhook-left": Code(
        WARNING,
        "A webhook of an Istio that is gone is left. Its policy is `Ignore`, so that each call costs time and nothing "
        "more.",
        "`kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations | grep istio`.",
        "Delete the configuration that the message names.",
    ),
    "crds-foreign": Code(
        WARNING,
        "Istio's definitions are there and do not belong to release `istio-base`: another release or kubectl made "
        "them, or they outlived an installation, as Helm leaves them on purpose.",
        "`kubectl get crd -o custom-columns=NAME:.metadata.name,RELEASE:.metadata.annotations.meta\\.helm\\.sh/"
        "release-name | grep istio.io`.",
        "Role crds takes them over, with the objects in them. To begin with none, which deletes all of Istio's "
        "objects: `kubectl get crd -o name | grep istio.io | xargs kubectl delete`.",
    ),
    # -- namespaces ----------------------------------------------------------------------------------------------------
    "namespace-terminating": Code(
        ERROR,
        "A namespace that the run needs is being deleted. Nothing can be created in it, and what holds it is in the "
        "message.",
        "`kubectl get namespace NAME -o yaml`, under `status.conditions`.",
        "Let the deletion end. If an object's finalizer holds it, find out why what owns the finalizer does not act; "
        "if discovery fails, delete the APIService of what is gone: `kubectl get apiservices | grep False`.",
    ),
    "quota-exceeded": Code(
        ERROR,
        "A ResourceQuota has less left than what is about to be created takes: processor time, memory, pods, "
        "Deployments, or Services with node ports or load balancers. What runs already is not counted again.",
        "`kubectl describe resourcequota -n NAMESPACE`.",
        "Raise the quota, or request less: "
        "`istio_helm_values: {istiod: {resources: {requests: {cpu: 100m, memory: 512Mi}}}}`.",
    ),
    "quota-needs-figures": Code(
        ERROR,
        "A ResourceQuota on requests or limits refuses pods that name none, and a chart's pods name none. Istiod has "
        "no limits of its own.",
        "`kubectl describe resourcequota -n NAMESPACE`.",
        "Name them (`istio_helm_values: {istiod: {resources: {limits: {cpu: 1, memory: 2Gi}}}}`), or give the "
        "namespace a LimitRange with defaults.",
    ),
    "limit-range": Code(
        ERROR,
        "A LimitRange refuses a pod that is about to be created: its requests or limits are above the maximum, below "
        "the minimum, or too far apart, or a default limit is below what it requests.",
        "`kubectl describe limitrange -n NAMESPACE`.",
        "Change the LimitRange, or the requests and limits in `istio_helm_values`.",
    ),
    "pods-refused": Code(
        WARNING,
        "Pods of a Deployment are refused when they are created; the API server's words are in the message. The "
        "guide's "
        'troubleshooting begins with this one: "unable to validate against any pod security policy".',
        '`kubectl describe replicaset -n NAMESPACE`, under "Events".',
        "For a policy, role psp_rbac: name the namespace in `psp_rbac_application_namespaces`. For the rest, what the "
        "finding says.",
    ),
    # -- the guide's recommendations -----------------------------------------------------------------------------------
    "workload-unlabeled": Code(
        WARNING,
        "A workload's pods lack the label `app` or `version`, by which telemetry and tracing tell workloads apart. "
        "`app.kubernetes.io/name` and `app.kubernetes.io/version` count too, as Istio reads them.",
        "`kubectl get pods -n NAMESPACE -L app,version`.",
        "Add the labels to the pod template, not to the selector, which cannot be changed.",
    ),
    "port-unnamed": Code(
        WARNING,
        "The name of a Service's port does not begin with a protocol, and `appProtocol` names none, so that Istio "
        "guesses, or takes it for plain TCP. `http-web` and `http` are right, `httpweb` and `web` are not.",
        "`kubectl get service NAME -n NAMESPACE -o yaml`.",
        "Name the port `PROTOCOL-NAME` or set `appProtocol`. Protocols: `http`, `http2`, `https`, `grpc`, `grpc-web`, "
        "`tcp`, `tls`, `mongo`, `mysql`, `redis`.",
    ),
    "port-conflict": Code(
        WARNING,
        "Services that select the same pods give the same port of those pods different protocols. Istio can follow "
        "only one of them; this is the guide's example marked WRONG.",
        "`kubectl get services -n NAMESPACE -o wide` shows the selectors.",
        "Name the port alike in all of the Services.",
    ),
    "injection-labels-mixed": Code(
        WARNING,
        "A namespace has both labels, `istio-injection` and `istio.io/rev`. Then `istio-injection` counts, and the "
        "revision is ignored.",
        "`kubectl get namespace NAME --show-labels`.",
        "Remove one: `kubectl label namespace NAME istio-injection-`.",
    ),
    "injection-partial": Code(
        WARNING,
        "The namespace's label asks for injection, and some of its running workloads have no sidecar: they were "
        "started before the label, or while no istiod served.",
        "`kubectl get pods -n NAMESPACE`: `1/1` is mostly a pod without sidecar.",
        "Restart them: `kubectl rollout restart deployment -n NAMESPACE`.",
    ),
    "injection-contradicted": Code(
        WARNING,
        "A pod's label `sidecar.istio.io/inject` says the opposite of its namespace. In a namespace with "
        "`istio-injection=disabled` the pod's wish is not heard; in one with injection the pod stays outside of the "
        "mesh, and strict mutual TLS shuts it out.",
        "`kubectl get pods -n NAMESPACE -L sidecar.istio.io/inject`.",
        "Remove the pod's label, or the namespace's. If it is meant: `preflight_ignore: [injection-contradicted]`.",
    ),
    # -- diagnosis: admission ------------------------------------------------------------------------------------------
    "pod-security-refused": Code(
        ERROR,
        "Pods are refused when they are created, by PodSecurityPolicy, Pod Security Admission or OpenShift's "
        "SecurityContextConstraints. The guide's troubleshooting begins with this one: \"unable to validate against "
        'any pod security policy"; Kubernetes 1.24 says "unable to admit pod", or that there are "no providers '
        'available".',
        '`kubectl describe replicaset -n NAMESPACE`, under "Events".',
        "Role psp_rbac grants what the cluster's mechanism wants: name the namespace in "
        "`psp_rbac_application_namespaces`. With Istio CNI (`istio_helm_components: [base, istiod, cni]`) applications "
        "need no privilege for their sidecar.",
    ),
    "service-account-missing": Code(
        ERROR,
        "Pods are refused because the service account that they name is not there.",
        "`kubectl get serviceaccounts -n NAMESPACE`.",
        "Create it, or correct `serviceAccountName` in the pod template.",
    ),
    "injector-unreachable": Code(
        ERROR,
        "Pods are refused because the API server cannot call istiod, which injects their sidecar. Why not is mostly "
        "another finding: istiod is not ready, its Service is gone, or its certificate is not trusted. If there is "
        "none, the way from the API server to istiod's port 15017 is closed, as by a firewall of a private cluster.",
        '`kubectl describe replicaset -n NAMESPACE`: "failed calling webhook".',
        "Mend what the other finding says, or open port 15017 of the nodes or pods to the API server.",
    ),
    "admission-denied": Code(
        ERROR,
        "Pods are refused by something that no rule here knows: a policy engine, a webhook, a "
        "ValidatingAdmissionPolicy. Its words are in the message.",
        '`kubectl describe replicaset -n NAMESPACE`, under "Events".',
        "What its words say.",
    ),
    "webhook-certificate": Code(
        ERROR,
        "The API server does not trust istiod: the webhook that injects sidecars holds no CA, or another than the one "
        "that istiod's certificate is of. Istiod writes it; what applies the webhook from a file may undo that.",
        "`kubectl get mutatingwebhookconfiguration NAME -o jsonpath={.webhooks[0].clientConfig.caBundle} | base64 -d`, "
        "beside `kubectl get configmap istio-ca-root-cert -n istio-system -o jsonpath={.data}`.",
        "Keep others from setting `caBundle`, and restart istiod: "
        "`kubectl rollout restart deployment -n istio-system -l istio=pilot`.",
    ),
    # -- diagnosis: the control plane ----------------------------------------------------------------------------------
    "istiod-missing": Code(
        ERROR,
        "There is no istiod, and something waits for one: namespaces that ask for injection, or gateways, whose image "
        "comes from it.",
        "`kubectl get deployments --all-namespaces -l istio=pilot`.",
        "Install it by role istio_helm. If it is in another namespace, name that one: `istio_helm_namespace`.",
    ),
    "istiod-not-ready": Code(
        ERROR,
        "No pod of istiod is ready: no sidecar is injected, and the proxies go on with what they had last.",
        "`kubectl describe pods -n istio-system -l istio=pilot`.",
        "Mend what its pods or its log say: `kubectl logs -n istio-system -l istio=pilot`.",
    ),
    "proxy-out-of-sync": Code(
        ERROR,
        "A proxy refuses what istiod sends it (`ERROR`), or has not taken it yet (`STALE`), and goes on with what it "
        "had before. An EnvoyFilter that this Envoy does not understand is the usual reason.",
        "`istioctl proxy-status`; istiod's log has the proxy's words.",
        "Correct or delete the EnvoyFilter, or whatever the log names.",
    ),
    # -- diagnosis: pods -----------------------------------------------------------------------------------------------
    "image-pull": Code(
        ERROR,
        "An image cannot be had: a wrong name or tag, a registry that cannot be reached or wants a login, or a pull "
        "policy `Never` for one that is not on the node.",
        '`kubectl describe pod NAME -n NAMESPACE`, under "Events".',
        "Correct it: `istio_helm_hub`, `istio_helm_tag`, `istio_helm_image_pull_secrets`, `liveness_verify_image`.",
    ),
    "pod-unschedulable": Code(
        ERROR,
        "The scheduler finds no node for a pod: its requests are above what is free, or taints and selectors leave "
        "none.",
        '`kubectl describe pod NAME -n NAMESPACE`, under "Events".',
        "Make room, add a node, or request less: "
        "`istio_helm_values: {istiod: {resources: {requests: {cpu: 100m, memory: 512Mi}}}}`.",
    ),
    "container-misconfigured": Code(
        ERROR,
        "A container cannot be made: it refers to a ConfigMap, Secret or user that is not there, or its command is not "
        "in the image.",
        "`kubectl describe pod NAME -n NAMESPACE`.",
        "Create what is missing, or correct the reference.",
    ),
    "container-crashes": Code(
        ERROR,
        "A container ends again and again. Of Istio's own: `istio-init` without `NET_ADMIN`, `istio-validation` "
        "without Istio CNI.",
        "`kubectl logs --previous POD -n NAMESPACE -c CONTAINER`.",
        "Mend what the log says.",
    ),
    "pod-unready": Code(
        ERROR,
        "The pods of a workload run, and none becomes ready: a readiness probe fails. That of `istio-proxy` does until "
        "istiod has answered it.",
        '`kubectl describe pod NAME -n NAMESPACE`, under "Events".',
        "Mend the probe, or what it asks.",
    ),
    # -- diagnosis: injection ------------------------------------------------------------------------------------------
    "injector-missing": Code(
        ERROR,
        "A namespace asks for sidecars, and there is no webhook that injects any.",
        "`kubectl get mutatingwebhookconfigurations`.",
        "Let role istio_helm restore it.",
    ),
    "injection-revision-unknown": Code(
        ERROR,
        "A namespace asks for sidecars of a revision or tag that no istiod serves: an upgrade has ended, or the name "
        "is wrong. Its pods start without a sidecar, and nobody says so.",
        "`kubectl get namespace NAME --show-labels`; "
        "`kubectl get mutatingwebhookconfigurations -L istio.io/rev,istio.io/tag`.",
        "`kubectl label namespace NAME istio.io/rev=REVISION --overwrite`, and restart its pods.",
    ),
    "injection-label-missing": Code(
        WARNING,
        "A gateway sends requests to a workload of a namespace that was named as an application's, and the namespace "
        "does not ask for sidecars. Requests to it are in plain text.",
        "`kubectl get namespace NAME --show-labels`.",
        "`kubectl label namespace NAME istio-injection=enabled`, and restart its pods; role liveness_verify labels its "
        "own.",
    ),
    "injection-host-network": Code(
        WARNING,
        "A gateway sends requests to pods that use the node's network. Istio injects no sidecar there, as it would "
        "redirect the node's own traffic.",
        "`kubectl get pod NAME -n NAMESPACE -o jsonpath={.spec.hostNetwork}`.",
        "Leave `hostNetwork` out of the pod template.",
    ),
    # -- diagnosis: routing --------------------------------------------------------------------------------------------
    "gateway-autogenerated": Code(
        ERROR,
        "Gateway `istio-autogenerated-k8s-ingress` is there, which Istio made of Kubernetes' Ingress until 1.0. It "
        "stands for all hosts on ports 80 and 443 and takes requests from other Gateways. The guide's troubleshooting "
        "says to delete it.",
        "`kubectl get gateways.networking.istio.io --all-namespaces`.",
        "`kubectl delete gateways.networking.istio.io istio-autogenerated-k8s-ingress -n istio-system`.",
    ),
    "gateway-selects-nothing": Code(
        ERROR,
        "The selector of a Gateway is of no pod, so that no gateway listens for it: connections are refused, or end in "
        "404 where another Gateway has the port.",
        "`kubectl get pods --all-namespaces -L istio`. The label is the gateway's name without `istio-`.",
        "Correct `spec.selector`.",
    ),
    "gateway-port-unexposed": Code(
        ERROR,
        "A Gateway has a port that no Service of its pods has. The proxy listens, and nobody can reach it.",
        "`kubectl get service istio-ingressgateway -n istio-system`.",
        "Use a port of the Service (80, 443), or add one: `ports` of the gateway in `istio_helm_gateways`.",
    ),
    "gateway-unknown": Code(
        ERROR,
        "A VirtualService names a Gateway that is not there. A name without a namespace is of the VirtualService's "
        "own.",
        "`kubectl get gateways.networking.istio.io --all-namespaces`.",
        "Correct `spec.gateways`: `NAMESPACE/NAME`.",
    ),
    "gateway-host-mismatch": Code(
        ERROR,
        "No host of a VirtualService is one that its Gateways take, or they take it from another namespace only "
        "(`NAMESPACE/HOST`). Requests for it end in 404.",
        "`kubectl get gateways.networking.istio.io,virtualservices --all-namespaces -o yaml`.",
        "Make the hosts of both the same.",
    ),
    "route-not-exported": Code(
        ERROR,
        "A VirtualService for a gateway is not exported to the gateway's namespace, which therefore knows nothing of "
        "it.",
        "`kubectl get virtualservice NAME -n NAMESPACE -o jsonpath={.spec.exportTo}`.",
        "Add the gateway's namespace to `spec.exportTo`, or leave it out.",
    ),
    "host-not-served": Code(
        ERROR,
        "No Gateway takes the host that is asked for through this gateway.",
        "`kubectl get gateways.networking.istio.io --all-namespaces -o yaml`.",
        "Apply one, or ask for another host: `liveness_verify_host`.",
    ),
    "host-not-routed": Code(
        ERROR,
        "A Gateway takes the host that is asked for, and no VirtualService routes it there: requests end in 404. One "
        "without `gateways` is for sidecars only.",
        "`kubectl get virtualservices --all-namespaces`.",
        "Name the Gateway in `spec.gateways` of the VirtualService.",
    ),
    "gateway-certificate-missing": Code(
        ERROR,
        "The Secret with a Gateway's certificate is not in the namespace of the gateway's pods. The gateway ends each "
        "connection to that port.",
        "`kubectl get secrets -n istio-system`.",
        "`kubectl create secret tls NAME -n istio-system --cert=FILE --key=FILE`.",
    ),
    "gateways-conflict": Code(
        ERROR,
        "Two Gateways have the same port of the same pods, with different protocols, or with TLS for the same host. "
        "Istio takes the older one, and leaves the other out.",
        "`kubectl get gateways.networking.istio.io --all-namespaces -o yaml`.",
        "Put the servers into one Gateway, or give one another port, host or selector.",
    ),
    "virtual-services-conflict": Code(
        ERROR,
        "Two VirtualServices route the same host at the same place and match the same requests: one of them gets none. "
        "For sidecars only the older of two counts, whatever they match.",
        "`kubectl get virtualservices --all-namespaces`.",
        "Put the routes into one VirtualService, or let each match something else.",
    ),
    "destination-unknown": Code(
        ERROR,
        "A VirtualService sends requests to a host that is no Service and of no ServiceEntry. A short name is of the "
        "VirtualService's own namespace, and `NAME.NAMESPACE` is no Service for Istio.",
        "`kubectl get services -n NAMESPACE`.",
        "Write the host in full: `NAME.NAMESPACE.svc.cluster.local`.",
    ),
    "destination-port-unknown": Code(
        ERROR,
        "A VirtualService sends requests to a port that the Service does not have, or names none of several.",
        "`kubectl get service NAME -n NAMESPACE`.",
        "Name a port of the Service in `destination.port.number`; a port of its pods is no such.",
    ),
    "destination-subset-unknown": Code(
        ERROR,
        "A VirtualService sends requests to a subset that no DestinationRule has.",
        "`kubectl get destinationrules --all-namespaces -o yaml`.",
        "Correct the name, or add the subset to a DestinationRule with the same host.",
    ),
    "subset-selects-nothing": Code(
        ERROR,
        "No pod behind a Service has the labels of a subset that requests are sent to.",
        "`kubectl get pods -n NAMESPACE --show-labels`.",
        "Correct the labels of the subset, or run pods with them.",
    ),
    "service-without-endpoints": Code(
        ERROR,
        "A Service that requests are sent to has no pod that can answer: its selector is of none, none is ready, or "
        "its `targetPort` names a port that they do not have.",
        "`kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=NAME`.",
        "Correct `spec.selector` or `targetPort`, or let the pods become ready.",
    ),
    # -- diagnosis: exposure -------------------------------------------------------------------------------------------
    "gateway-missing": Code(
        ERROR,
        "There is no Service of the gateway that is asked about, by which its pods are reached.",
        "`kubectl get services --all-namespaces -l istio`.",
        "Let role istio_helm restore it, or name another: `istio_helm_gateways`.",
    ),
    "gateway-unreachable": Code(
        ERROR,
        "The gateway's pods are ready, and its address takes no connection from where the task runs: something in "
        "front of the cluster is in the way. `liveness_verify_from: cluster` asks behind it.",
        "`curl -v http://ADDRESS/`: a timeout is a firewall or a security group, a refusal a port on which nothing "
        "listens.",
        "Open the node port or the load balancer's port, or give the address that leads there: "
        "`liveness_verify_address`.",
    ),
    # -- diagnosis: mutual TLS -----------------------------------------------------------------------------------------
    "mtls-disabled-by-rule": Code(
        ERROR,
        "A DestinationRule has proxies call a Service in plain text, or by TLS of its own, whose pods take only mutual "
        "TLS (PeerAuthentication `STRICT`). Requests end in 503.",
        "`kubectl get destinationrules,peerauthentications --all-namespaces`.",
        "Leave `tls` out of the rule's `trafficPolicy`: Istio then chooses by itself.",
    ),
    "mtls-without-sidecar": Code(
        ERROR,
        "A DestinationRule asks for mutual TLS to a Service whose pods have no sidecar, so that nobody understands it. "
        "Requests end in 503.",
        "`kubectl get pods -n NAMESPACE`: `1/1` is mostly a pod without sidecar.",
        "Leave `tls` out of the rule's `trafficPolicy`, or let the pods have sidecars.",
    ),
    "mtls-strict-plain-caller": Code(
        WARNING,
        "Pods take only mutual TLS (PeerAuthentication `STRICT`), and who calls them can do none: workloads without a "
        "sidecar beside them, or requests from outside by a node port or load balancer past the gateway. Their "
        "connections are reset.",
        "`kubectl get peerauthentications --all-namespaces`; `kubectl get pods -n NAMESPACE`.",
        "Let the callers have sidecars, let requests come by the gateway, or set mode `PERMISSIVE` until they do.",
    ),
    "istioctl-analysis": Code(
        WARNING,
        "`istioctl analyze` has found something in Istio's configuration; its message and code are in the finding.",
        "`istioctl analyze --all-namespaces`.",
        "What the page of its code says, at the address in the finding.",
    ),
}
