{{/* Generated from operator/pilotfish/controller/rbac.py by `pilotfish crds`: do not edit. */}}
{{- define "pilotfish.rules.operator" -}}
# follows what is declared
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters"]
  verbs: ["list", "watch"]
# reports state
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins/status", "autoscalingpolicies/status", "modelpools/status", "modelrouters/status"]
  verbs: ["patch"]
# makes and mends pools
- apiGroups: ["apps"]
  resources: ["deployments"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# makes and mends pools where KubeRay runs them
- apiGroups: ["ray.io"]
  resources: ["rayservices"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# gives a pool's replicas one name
- apiGroups: [""]
  resources: ["services"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# lets nobody but gateway and operator reach a pool
- apiGroups: ["networking.k8s.io"]
  resources: ["networkpolicies"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# reads why a replica does not start
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
# asks external models, with their key, which models they have
- apiGroups: [""]
  resources: ["secrets"]
  verbs: ["get"]
# tells a human once
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: ["create"]
{{- end }}
{{- define "pilotfish.rules.operatorHome" -}}
# one operator acts at a time
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: ["get", "create", "update"]
# finds the gateway's replicas, to ask for their load
- apiGroups: ["discovery.k8s.io"]
  resources: ["endpointslices"]
  verbs: ["list"]
{{- end }}
{{- define "pilotfish.rules.gateway" -}}
# follows what is declared
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters"]
  verbs: ["list", "watch"]
# balances over a pool's replicas
- apiGroups: ["discovery.k8s.io"]
  resources: ["endpointslices"]
  verbs: ["list", "watch"]
# reads the documents, artifacts and keys that a resource names
- apiGroups: [""]
  resources: ["configmaps", "secrets"]
  verbs: ["get"]
{{- end }}
{{- define "pilotfish.rules.webhook" -}}
# sees which task a router's pools do
- apiGroups: ["pilotfish.dev"]
  resources: ["modelpools"]
  verbs: ["get"]
{{- end }}
{{- define "pilotfish.rules.viewer" -}}
# sees what is declared
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters", "adaptationplugins/status", "autoscalingpolicies/status", "modelpools/status", "modelrouters/status", "modelpools/scale"]
  verbs: ["get", "list", "watch"]
{{- end }}
{{- define "pilotfish.rules.editor" -}}
# declares
- apiGroups: ["pilotfish.dev"]
  resources: ["adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters"]
  verbs: ["create", "update", "patch", "delete", "deletecollection"]
# scales a pool by hand
- apiGroups: ["pilotfish.dev"]
  resources: ["modelpools/scale"]
  verbs: ["update", "patch"]
{{- end }}
