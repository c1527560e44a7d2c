"""The operator: Kopf's watches and our work queue around the pure core in `reconcile`."""
