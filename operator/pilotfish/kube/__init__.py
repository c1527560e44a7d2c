"""The only package that calls Kubernetes."""
