apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels: {{- include "liveness.labels" . | nindent 4 }}
spec:
  selector: {app: {{ .Release.Name | quote }}}
  ports:
    - {name: http-{{ .Release.Name }}, port: 80, protocol: TCP, targetPort: http}
    {{- if .Values.serviceMonitor.enabled }}
    # The sidecar's agent, which hands on what sidecar and app have counted.
    - {name: http-metrics, port: 15020, protocol: TCP, targetPort: 15020}
    {{- end }}
