"""From a resource to what is made of it (a Serve application, Kubernetes objects), as plain functions."""
