{{- with .Values.serviceMonitor }}
{{- if .enabled }}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ $.Release.Name }}
  {{- with .labels }}
  labels: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  selector:
    matchLabels: {{- include "liveness.labels" $ | nindent 6 }}
  endpoints:
    - {port: http-metrics, path: /stats/prometheus, interval: {{ .interval | quote }}}
{{- end }}
{{- end }}
