{{/* The name of all that the release makes. */}}
{{- define "image-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Labels by which pods are found; call with a dict of `root` and `component`. */}}
{{- define "image-gateway.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "image-gateway.labels" -}}
{{ include "image-gateway.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "image-gateway.secretName" -}}
{{ .Values.existingSecret | default (include "image-gateway.fullname" .) }}
{{- end }}

{{- define "image-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "image-gateway.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "image-gateway.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end }}

{{/* What the values must say, with what to do about it. */}}
{{- define "image-gateway.check" -}}
{{- $ := . -}}
{{- if not .Values.publicUrl -}}
{{- fail "publicUrl must be given: how clients reach the gateway, as https://images.example.org" -}}
{{- end -}}
{{- if and .Values.existingSecret .Values.secrets -}}
{{- fail "secrets and existingSecret are both given: put all secrets into one of them" -}}
{{- end -}}
{{- if not .Values.existingSecret -}}
{{- $needed := list "GATEWAY_DATABASE_URL" "GATEWAY_SECRET" -}}
{{- if or .Values.engine.enabled .Values.engine.address }}{{ $needed = append $needed "GATEWAY_ENGINE_TOKEN" }}{{ end -}}
{{- if .Values.metrics.serviceMonitor.enabled }}{{ $needed = append $needed "GATEWAY_METRICS_TOKEN" }}{{ end -}}
{{- range $needed -}}
{{- if not (get $.Values.secrets .) -}}
{{- fail (printf "secrets.%s must be given, or existingSecret with it" .) -}}
{{- end -}}
{{- end -}}
{{- if not (hasPrefix "postgres" .Values.secrets.GATEWAY_DATABASE_URL) -}}
{{- fail "secrets.GATEWAY_DATABASE_URL must be of PostgreSQL: a SQLite file has one process" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.engine.enabled .Values.engine.address -}}
{{- fail "engine.enabled and engine.address are both given: there is one engine" -}}
{{- end -}}
{{- if and (not .Values.storage.url) (not .Values.storage.existingClaim) -}}
{{- fail "storage.url (s3://bucket/prefix) or storage.existingClaim must be given: pods do not share a folder" -}}
{{- end -}}
{{- if and .Values.storage.url .Values.storage.existingClaim -}}
{{- fail "storage.url and storage.existingClaim are both given: pictures are kept in one place" -}}
{{- end -}}
{{- end }}

{{/* The settings of gateways and workers, without secrets. */}}
{{- define "image-gateway.config" -}}
{{- $name := include "image-gateway.fullname" . -}}
GATEWAY_HOST: "0.0.0.0"
GATEWAY_PORT: "8000"
GATEWAY_DATA_DIR: /data
GATEWAY_PUBLIC_URL: {{ .Values.publicUrl | quote }}
GATEWAY_STORAGE_URL: {{ .Values.storage.url | default "file:///pictures" | quote }}
GATEWAY_SHUTDOWN_GRACE_S: {{ .Values.shutdownGraceSeconds | quote }}
GATEWAY_MIGRATE: {{ ternary "step" "start" .Values.migrate.enabled }}
{{- if .Values.engine.enabled }}
GATEWAY_ENGINE: {{ printf "%s-engine:7861" $name }}
{{- else }}
GATEWAY_ENGINE: {{ .Values.engine.address | default "none" }}
{{- end }}
{{- if .Values.registry }}
GATEWAY_REGISTRY: /etc/image-gateway/models.yaml
{{- end }}
{{- range $key, $value := .Values.config }}
{{ $key }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "image-gateway.secrets" -}}
{{- range $key, $value := .Values.secrets }}
{{ $key }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{/* Pods start anew when what they read at their start has changed. */}}
{{- define "image-gateway.checksums" -}}
checksum/config: {{ include "image-gateway.config" . | sha256sum }}
checksum/registry: {{ .Values.registry | sha256sum }}
checksum/secret: {{ printf "%s/%s/%s" (include "image-gateway.secrets" .) .Values.existingSecret .Values.existingSecretVersion | sha256sum }}
{{- end }}

{{- define "image-gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "image-gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What each pod's spec begins with. Service links are off: they make variables of the Services' names, and
     one that begins with GATEWAY_ and is no setting stops the start. */}}
{{- define "image-gateway.pod" -}}
serviceAccountName: {{ include "image-gateway.serviceAccountName" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "image-gateway.podSecurity" .root | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "image-gateway.spread" -}}
{{- if not .values.affinity }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "image-gateway.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* Environment, probes and folders, the same of gateways and workers. */}}
{{- define "image-gateway.envFrom" -}}
- configMapRef:
    name: {{ include "image-gateway.fullname" . }}
- secretRef:
    name: {{ include "image-gateway.secretName" . }}
{{- end }}

{{- define "image-gateway.env" -}}
{{- $name := printf "%s-%s" (include "image-gateway.fullname" .root) .component -}}
{{- $space := .root.Release.Namespace -}}
# Others in the cluster ask by the Service's name.
- name: GATEWAY_ALLOWED_HOSTS
  value: {{ concat (list $name (printf "%s.%s" $name $space) (printf "%s.%s.svc" $name $space) (printf "%s.%s.svc.cluster.local" $name $space)) .root.Values.allowedHosts | join "," | quote }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "image-gateway.probes" -}}
startupProbe:
  httpGet: &live
    path: /health/live
    port: http
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: *live
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /health/ready
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "image-gateway.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if .Values.registry }}
- {name: registry, mountPath: /etc/image-gateway, readOnly: true}
{{- end }}
{{- if .Values.storage.existingClaim }}
- {name: pictures, mountPath: /pictures}
{{- end }}
{{- end }}

{{- define "image-gateway.volumes" -}}
- name: data
  emptyDir:
    sizeLimit: {{ .values.dataSize }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- if .root.Values.registry }}
- name: registry
  configMap:
    name: {{ include "image-gateway.fullname" .root }}-registry
{{- end }}
{{- with .root.Values.storage.existingClaim }}
- name: pictures
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- end }}

{{/* What the autoscaler looks at. Without an open job there is no series of them: then it is the queue's 0. */}}
{{- define "image-gateway.openJobs" -}}
sum(max by (model, provider, status) (gateway_jobs{job={{ .Values.metrics.job | quote }},status=~"queued|running|storing"})) or {{ include "image-gateway.queued" . }}
{{- end }}

{{- define "image-gateway.queued" -}}
max(gateway_queue_depth{job={{ .Values.metrics.job | quote }},queue="now"})
{{- end }}
