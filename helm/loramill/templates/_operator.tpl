{{/* The operator's file: what the values say, and what only the chart knows. */}}

{{- define "loramill.operator" -}}
{{- $file := deepCopy .Values.operator -}}
{{- $trainers := $file.trainers | default dict -}}
{{- $_ := set $trainers "namespace" .Values.trainers.namespace.name -}}
{{- $_ := set $trainers "image" (include "loramill.trainerImage" .) -}}
{{- $_ := set $trainers "image_pull_policy" .Values.trainers.image.pullPolicy -}}
{{- $_ := set $trainers "image_pull_secrets" .Values.global.imagePullSecrets -}}
{{- $_ := set $trainers "service_account_name" (include "loramill.trainerServiceAccount" .) -}}
{{- $_ := set $trainers "mount_credentials" (ne $file.trainer_credentials.kind "workload-identity") -}}
{{- with .Values.traces.endpoint -}}
{{- $_ := set $trainers "traces_endpoint" . -}}
{{- end -}}
{{- $s3 := $trainers.s3 | default dict -}}
{{- if and .Values.storage.endpointUrl (not $s3.endpoint_url) -}}
{{- $_ := set $s3 "endpoint_url" .Values.storage.endpointUrl -}}
{{- end -}}
{{- if and .Values.storage.region (not $s3.region) -}}
{{- $_ := set $s3 "region" .Values.storage.region -}}
{{- end -}}
{{- if and .Values.storage.caCertificates (not $s3.ca_bundle) -}}
{{- $_ := set $s3 "ca_bundle" (dict "config_map" (printf "%s-trust" (include "loramill.fullname" .)) "key" "ca.pem") -}}
{{- end -}}
{{- if $s3 -}}
{{- $_ := set $trainers "s3" $s3 -}}
{{- end -}}
{{- $_ := set $file "trainers" $trainers -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict "certificate" "/etc/loramill-tls/tls.crt" "key" "/etc/loramill-tls/tls.key" -}}
{{- if .Values.tls.clients.existingSecret -}}
{{- $_ := set $tls "client_ca" (printf "/etc/loramill-client-ca/%s" .Values.tls.clients.key) -}}
{{- $_ := set $tls "client_port" .Values.tls.clients.port -}}
{{- end -}}
{{- $_ := set $file "tls" $tls -}}
{{- end -}}
{{- if include "loramill.testable" . -}}
{{- $account := printf "%s/%s" .Release.Namespace (include "loramill.testName" .) -}}
{{- $_ := set $file "tenants" (append $file.tenants (dict "tenant" .Values.test.tenant "role" "editor" "service_account" $account)) -}}
{{- end -}}
{{- toYaml $file -}}
{{- end -}}

{{/* Whether service accounts' tokens are taken: `{}` says so too. Empty for no. */}}
{{- define "loramill.takesAccounts" -}}
{{- if kindIs "map" (.Values.operator.authentication | default dict).service_accounts -}}yes{{- end -}}
{{- end -}}

{{/* Their audience. */}}
{{- define "loramill.audience" -}}
{{- (.Values.operator.authentication.service_accounts | default dict).audience | default "loramill" -}}
{{- end -}}

{{/* Whether `helm test` can prove who it is: by a service account's token. Empty for no. */}}
{{- define "loramill.testable" -}}
{{- if and .Values.test.enabled (include "loramill.takesAccounts" .) -}}yes{{- end -}}
{{- end -}}

{{/* Whether a port of its own takes client certificates, as it does where tokens are taken too. Empty for no. */}}
{{- define "loramill.clientPort" -}}
{{- $authentication := .Values.operator.authentication | default dict -}}
{{- if and .Values.tls.enabled .Values.tls.clients.existingSecret (or (include "loramill.takesAccounts" .) $authentication.oidc) -}}
{{- .Values.tls.clients.port -}}
{{- end -}}
{{- end -}}

{{/* What cannot be, told before anything is installed. */}}
{{- define "loramill.check" -}}
{{- $authentication := .Values.operator.authentication | default dict -}}
{{- if not (or (include "loramill.takesAccounts" .) $authentication.oidc (and .Values.tls.enabled .Values.tls.clients.existingSecret)) -}}
{{- fail "Nobody could prove who calls: set operator.authentication.service_accounts or .oidc, or tls.clients.existingSecret." -}}
{{- end -}}
{{- if and (not .Values.tls.enabled) (ne ($authentication.plaintext | default "") "behind-a-mesh") -}}
{{- fail "Without TLS tokens would travel for everybody to read: set tls.enabled, or operator.authentication.plaintext: behind-a-mesh where a mesh encrypts." -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) -}}
{{- fail "cert-manager needs an issuer: set tls.certManager.issuerRef.name." -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled .Values.tls.existingSecret -}}
{{- fail "The certificate comes from cert-manager or from an existing Secret: leave tls.certManager.enabled or tls.existingSecret out." -}}
{{- end -}}
{{- if eq .Values.trainers.namespace.name .Release.Namespace -}}
{{- fail (printf "Trainers must live apart from the service, but both would be in %s: set trainers.namespace.name." .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (gt (int .Values.replicas) 1) (ge (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicas)) -}}
{{- fail (printf "No node could be drained: podDisruptionBudget.minAvailable is %d, but must be below replicas, which is %d." (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}
