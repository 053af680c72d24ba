{{- /* What the guide recommends for every workload: labels app and version. */}}
{{- define "liveness.labels" -}}
app: {{ .Release.Name }}
version: {{ .Values.version | quote }}
{{- end }}

{{- /* Name of a Gateway: the app's own for the first, with that of the proxies after it for others. */}}
{{- define "liveness.gateway" -}}
{{- $gateway := last . }}
{{- (first .).Release.Name }}{{ with $gateway.name }}-{{ . }}{{ end }}
{{- end }}

{{- /* Objects that not every run has; role liveness_verify deletes those that were here and are no more. */}}
{{- define "liveness.parts" -}}
{{- $parts := list }}
{{- if .Values.podDisruptionBudget.enabled }}{{ $parts = append $parts "PodDisruptionBudget" }}{{ end }}
{{- if .Values.horizontalPodAutoscaler.enabled }}{{ $parts = append $parts "HorizontalPodAutoscaler" }}{{ end }}
{{- if .Values.serviceMonitor.enabled }}{{ $parts = append $parts "ServiceMonitor" }}{{ end }}
{{- range .Values.gateways }}
{{- if .name }}{{ $parts = append $parts (printf "Gateway/%s" (include "liveness.gateway" (list $ .))) }}{{ end }}
{{- end }}
{{- join " " $parts }}
{{- end }}
