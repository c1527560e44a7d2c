{{/* Generated from operator/pilotfish/crdgen/rbac.py by `pilotfish crds`: do not edit. */}}
{{- define "pilotfish.rules.operator" -}}
# watches the kinds
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters"]
  verbs: ["list", "watch"]
# writes the status
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins/status", "autoscalingpolicies/status", "modelpools/status", "modelrouters/status"]
  verbs: ["patch"]
# creates and updates pools
- apiGroups: ["apps"]
  resources: ["deployments"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# creates and updates pools that KubeRay runs
- apiGroups: ["ray.io"]
  resources: ["rayservices"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# gives the replicas of a pool one address
- apiGroups: [""]
  resources: ["services"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# restricts access to a pool to gateway and operator
- apiGroups: ["networking.k8s.io"]
  resources: ["networkpolicies"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# prepares the documents of plugins
- apiGroups: ["batch"]
  resources: ["jobs"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# finds out why a replica does not start
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
# prepares plugins again when their documents change
- apiGroups: [""]
  resources: ["configmaps"]
  verbs: ["get"]
# lists the models of external APIs with their keys
- apiGroups: [""]
  resources: ["secrets"]
  verbs: ["get"]
# reports changes to users
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: ["create"]
{{- end }}
{{- define "pilotfish.rules.operatorHome" -}}
# keeps only one operator active
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: ["get", "create", "update"]
# finds the replicas of the gateway, to read their load
- apiGroups: ["discovery.k8s.io"]
  resources: ["endpointslices"]
  verbs: ["list"]
{{- end }}
{{- define "pilotfish.rules.gateway" -}}
# watches the kinds
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters"]
  verbs: ["list", "watch"]
# balances requests over the replicas of a pool
- apiGroups: ["discovery.k8s.io"]
  resources: ["endpointslices"]
  verbs: ["list", "watch"]
# reads the artifacts and keys that a resource refers to
- apiGroups: [""]
  resources: ["configmaps", "secrets"]
  verbs: ["get"]
{{- end }}
{{- define "pilotfish.rules.webhook" -}}
# reads the tasks of a router's pools
- apiGroups: ["pilotfish.dev"]
  resources: ["modelpools"]
  verbs: ["get"]
{{- end }}
{{- define "pilotfish.rules.viewer" -}}
# reads the kinds
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters", "adaptationplugins/status", "autoscalingpolicies/status", "modelpools/status", "modelrouters/status", "modelpools/scale"]
  verbs: ["get", "list", "watch"]
{{- end }}
{{- define "pilotfish.rules.editor" -}}
# writes the kinds
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters"]
  verbs: ["create", "update", "patch", "delete", "deletecollection"]
# scales pools
- apiGroups: ["pilotfish.dev"]
  resources: ["modelpools/scale"]
  verbs: ["update", "patch"]
{{- end }}
