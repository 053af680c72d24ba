apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {istio: {{ .Values.gateway | quote }}}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: [{{ .Values.host | quote }}]
    {{- with .Values.tls.credentialName }}
    - port: {number: 443, name: https, protocol: HTTPS}
      hosts: [{{ $.Values.host | quote }}]
      tls: {mode: SIMPLE, credentialName: {{ . | quote }}}
    {{- end }}
