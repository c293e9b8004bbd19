{{/* Peers of a NetworkPolicy under a key (`to` or `from`), left out where everybody is meant. Takes a dict of `key` and `peers`. */}}
{{- define "loramill.peers" -}}
{{- with .peers }}
{{ $.key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where trainers and the service go alike: names, and the object store. */}}
{{- define "loramill.commonEgress" -}}
{{- $policy := .Values.networkPolicy -}}
- ports:
    {{- range $policy.dns.ports }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- include "loramill.peers" (dict "key" "to" "peers" $policy.dns.to) | nindent 2 }}
- ports:
    {{- $ports := $policy.store.ports }}
    {{- with include "loramill.storePort" . }}
    {{- $ports = append $ports (int .) }}
    {{- end }}
    {{- range $ports | uniq }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- include "loramill.peers" (dict "key" "to" "peers" $policy.store.to) | nindent 2 }}
{{- end -}}

{{/* The port that storage.endpointUrl names. */}}
{{- define "loramill.storePort" -}}
{{- $host := (urlParse .Values.storage.endpointUrl).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else if hasPrefix "http://" .Values.storage.endpointUrl -}}
80
{{- end -}}
{{- end -}}

{{/* The node's address from which a cloud's identity is had. */}}
{{- define "loramill.identityEgress" -}}
{{- if eq .Values.networkPolicy.cloudIdentity "eks-pod-identity" }}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
  ports:
    - {protocol: TCP, port: 80}
{{- else if eq .Values.networkPolicy.cloudIdentity "gke" }}
- to:
    - ipBlock: {cidr: 169.254.169.252/32}
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {protocol: TCP, port: 80}
    - {protocol: TCP, port: 988}
{{- end }}
{{- end -}}
