{{/* Names, labels and images: built here, nowhere else. */}}

{{- define "loramill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "loramill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "loramill.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "loramill.selector" -}}
app.kubernetes.io/name: {{ include "loramill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "loramill.labels" -}}
app.kubernetes.io/name: {{ include "loramill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: loramill
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "loramill.serviceAccount" -}}
{{- default (include "loramill.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "loramill.trainerServiceAccount" -}}
{{- default (printf "%s-trainer" (include "loramill.fullname" .)) .Values.trainers.serviceAccount.name -}}
{{- end -}}

{{- define "loramill.tlsSecret" -}}
{{- default (printf "%s-tls" (include "loramill.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{/* Of the pod of `helm test`, which the operator's file lets in. */}}
{{- define "loramill.testName" -}}
{{- printf "%s-test" (include "loramill.fullname" .) -}}
{{- end -}}

{{/* registry/repository@digest or registry/repository:tag; takes a dict of `image`, `global` and `tag`. */}}
{{- define "loramill.image" -}}
{{- $registry := default .image.registry .global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name .tag -}}
{{- end -}}
{{- end -}}

{{- define "loramill.serviceImage" -}}
{{- include "loramill.image" (dict "image" .Values.image "global" .Values.global "tag" (default .Chart.AppVersion .Values.image.tag)) -}}
{{- end -}}

{{- define "loramill.trainerImage" -}}
{{- include "loramill.image" (dict "image" .Values.trainers.image "global" .Values.global "tag" "") -}}
{{- end -}}
