"""From a resource to a Serve application or Kubernetes objects, as pure functions."""
