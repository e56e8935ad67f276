"""The contract of the camera service, one sub-package for each version."""
