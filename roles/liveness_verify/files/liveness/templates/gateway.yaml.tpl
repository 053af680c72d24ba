{{- range .Values.gateways }}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: {{ include "liveness.gateway" (list $ .) }}
spec:
  selector: {{- toYaml .selector | nindent 4 }}
  servers:
    - port: {number: {{ .http | default 80 }}, name: http, protocol: HTTP}
      hosts: [{{ $.Values.host | quote }}]
    {{- if $.Values.tls.credentialName }}
    - port: {number: {{ .https | default 443 }}, name: https, protocol: HTTPS}
      hosts: [{{ $.Values.host | quote }}]
      tls: {mode: SIMPLE, credentialName: {{ $.Values.tls.credentialName | quote }}}
    {{- end }}
{{- end }}
