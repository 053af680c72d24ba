apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {{ .Release.Name }}
spec:
  hosts: [{{ .Values.host | quote }}]
  gateways:
    {{- range .Values.gateways }}
    - {{ include "liveness.gateway" (list $ .) }}
    {{- end }}
  http:
    # Nothing else of the app can be reached from outside: agnhost can do much more than answer probes.
    - match:
        - uri: {exact: {{ .Values.path | quote }}}
        {{- with .Values.echoPath }}
        {{- $parts := splitList "?" . }}
        - uri: {exact: {{ first $parts | quote }}}
          method: {exact: GET}
          {{- if gt (len $parts) 1 }}
          queryParams:
            {{- range splitList "&" (last $parts) }}
            {{- $pair := splitList "=" . }}
            {{ first $pair | quote }}: {exact: {{ rest $pair | join "=" | quote }}}
            {{- end }}
          {{- end }}
        {{- end }}
      route:
        - destination:
            host: {{ .Release.Name }}.{{ .Release.Namespace }}.svc.cluster.local
            port: {number: 80}
