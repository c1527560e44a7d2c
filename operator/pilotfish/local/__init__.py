"""`pilotfish up`: the same manifests on one machine, without a cluster."""
