"""The base of all other packages: errors, names, time. No Kubernetes, no network, no files."""
