{{- /* What the guide recommends for every workload: labels app and version. */}}
{{- define "liveness.labels" -}}
app: {{ .Release.Name }}
version: {{ .Values.version | quote }}
{{- end }}

{{- /* Objects that not every run has; role liveness_verify deletes those that were here and are no more. */}}
{{- define "liveness.parts" -}}
{{- $parts := list }}
{{- if .Values.podDisruptionBudget.enabled }}{{ $parts = append $parts "PodDisruptionBudget" }}{{ end }}
{{- if .Values.horizontalPodAutoscaler.enabled }}{{ $parts = append $parts "HorizontalPodAutoscaler" }}{{ end }}
{{- if .Values.serviceMonitor.enabled }}{{ $parts = append $parts "ServiceMonitor" }}{{ end }}
{{- join " " $parts }}
{{- end }}
