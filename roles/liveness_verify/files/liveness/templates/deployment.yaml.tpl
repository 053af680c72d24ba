apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {{- include "liveness.labels" . | nindent 4 }}
  annotations:
    meshops.istio/parts: {{ include "liveness.parts" . | quote }}
spec:
  {{- if not .Values.horizontalPodAutoscaler.enabled }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  # Without the version: a selector is immutable, and the version is not.
  selector:
    matchLabels: {app: {{ .Release.Name | quote }}}
  template:
    metadata:
      labels: {{- include "liveness.labels" . | nindent 8 }}
        {{- with .Values.revision }}
        istio.io/rev: {{ . | quote }}
        {{- end }}
      annotations:
        # The injected probe's 15 s between two looks would be most of the time to the first 200.
        readiness.status.sidecar.istio.io/periodSeconds: "2"
        # The sidecar counts requests, by which they are proven to have passed it, where Istio's telemetry is off too.
        proxy.istio.io/config: '{"proxyStatsMatcher": {"inclusionPrefixes": ["http.inbound_"]}}'
    spec:
      serviceAccountName: {{ .Release.Name }}
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: app
          image: {{ .Values.image | quote }}
          imagePullPolicy: IfNotPresent
          args: {{ .Values.args | toJson }}
          ports:
            - {name: http, containerPort: {{ .Values.port }}, protocol: TCP}
          readinessProbe:
            httpGet: {path: {{ .Values.path | quote }}, port: http}
            periodSeconds: 2
          livenessProbe:
            httpGet: {path: {{ .Values.path | quote }}, port: http}
            periodSeconds: 10
            failureThreshold: 6
          resources: {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
