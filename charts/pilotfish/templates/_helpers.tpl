{{- define "pilotfish.fullname" -}}
{{- if contains "pilotfish" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-pilotfish" (.Release.Name | trunc 30 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Name of a component's objects; takes (dict "root" . "component" "gateway"). */}}
{{- define "pilotfish.name" -}}
{{- printf "%s-%s" (include "pilotfish.fullname" .root) .component -}}
{{- end -}}

{{- define "pilotfish.selector" -}}
app.kubernetes.io/name: pilotfish
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "pilotfish.labels" -}}
{{ include "pilotfish.selector" . }}
app.kubernetes.io/part-of: pilotfish
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image's reference; takes (dict "root" . "image" .Values.image). */}}
{{- define "pilotfish.image" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "pilotfish.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "pilotfish.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Environment that operator and gateway share; takes (dict "root" . "values" .Values.gateway). */}}
{{- define "pilotfish.env" -}}
- name: PILOTFISH_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: PILOTFISH_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: PILOTFISH_WATCH_NAMESPACES
  value: {{ join "," .root.Values.watchNamespaces | quote }}
- name: PILOTFISH_LOG_LEVEL
  value: {{ .values.logLevel }}
{{- with .root.Values.telemetry.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $.root.Values.telemetry.samplingRatio | quote }}
{{- end }}
{{- with .values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Installs plugins that are not in the image. pip finds nothing but the volume's wheels, and checks their hashes. */}}
{{- define "pilotfish.pluginsInit" -}}
{{- if .Values.plugins.extra.volume }}
initContainers:
  - name: plugins
    image: {{ include "pilotfish.image" (dict "root" . "image" .Values.image) }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [python3, -m, pip, install, --no-index, --no-deps, --no-cache-dir, --only-binary, ":all:", --require-hashes]
    args: [--find-links, /wheels, --target, /plugins, --requirement, /wheels/{{ .Values.plugins.extra.requirements }}]
    resources:
      requests: {cpu: 50m, memory: 128Mi}
      limits: {memory: 512Mi}
    securityContext: {{- include "pilotfish.containerSecurityContext" . | nindent 6 }}
    volumeMounts:
      - {name: wheels, mountPath: /wheels, readOnly: true}
      - {name: plugins, mountPath: /plugins}
      - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end -}}

{{- define "pilotfish.pluginsEnv" -}}
{{- if .Values.plugins.extra.volume }}
- name: PYTHONPATH
  value: /plugins
{{- end }}
{{- end -}}

{{- define "pilotfish.pluginsMount" -}}
{{- if .Values.plugins.extra.volume }}
- {name: plugins, mountPath: /plugins, readOnly: true}
{{- end }}
{{- end -}}

{{- define "pilotfish.pluginsVolumes" -}}
{{- with .Values.plugins.extra.volume }}
- name: wheels
  {{- toYaml . | nindent 2 }}
- name: plugins
  emptyDir: {}
{{- end }}
{{- end -}}

{{/* Where a pod may be placed; takes the component's values. */}}
{{- define "pilotfish.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The address that clients inside the cluster call. */}}
{{- define "pilotfish.gatewayURL" -}}
{{- $port := int .Values.gateway.service.port -}}
http://{{ include "pilotfish.name" (dict "root" . "component" "gateway") }}.{{ .Release.Namespace }}.svc
{{- if ne $port 80 }}:{{ $port }}{{ end }}/v1
{{- end -}}

{{/* Binds a component's ClusterRole to its service account: in the whole cluster, or in the watched namespaces alone. */}}
{{- define "pilotfish.bindings" -}}
{{- $name := include "pilotfish.name" . -}}
{{- $root := .root -}}
{{- $this := . -}}
{{- range .root.Values.watchNamespaces | default (list "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne . "") }}
metadata:
  name: {{ $name }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "pilotfish.labels" $this | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace }}}
{{- end }}
{{- end -}}

{{/* Names, the API server, and the traces' collector. */}}
{{- define "pilotfish.commonEgress" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- with .Values.telemetry.otlpEndpoint }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
- ports: [{port: {{ $port | default (ternary 443 80 (eq $url.scheme "https")) }}, protocol: TCP}]
{{- end }}
{{- end -}}

{{/* The pods of every pool, in every namespace. */}}
{{- define "pilotfish.poolPods" -}}
{namespaceSelector: {}, podSelector: {matchLabels: {app.kubernetes.io/name: pilotfish, app.kubernetes.io/component: pool}}}
{{- end -}}

{{/* Anything but link-local addresses, at the ports of external models; takes .Values.networkPolicy. */}}
{{- define "pilotfish.externalEgress" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        {{- with .externalExcept }}
        except: {{- toYaml . | nindent 10 }}
        {{- end }}
  ports:
    {{- range .externalPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end -}}
