"""What everything else stands on: errors, names, time. No Kubernetes, no network, no files."""
