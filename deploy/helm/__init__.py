"""The Helm chart, and what makes its templates of the kustomize base."""
