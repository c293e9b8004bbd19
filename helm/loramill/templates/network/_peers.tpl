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
{{- include "loramill.portOf" .Values.storage.endpointUrl -}}
{{- end -}}

{{/* The port that an address names; none where that is 443. */}}
{{- define "loramill.portOf" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else if hasPrefix "http://" . -}}
80
{{- end -}}
{{- end -}}

{{/* Where spans are sent. */}}
{{- define "loramill.tracesEgress" -}}
{{- with .Values.traces.endpoint }}
- ports:
    - {protocol: TCP, port: {{ include "loramill.portOf" . | default 443 }}}
  {{- include "loramill.peers" (dict "key" "to" "peers" $.Values.traces.to) | nindent 2 }}
{{- end }}
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
