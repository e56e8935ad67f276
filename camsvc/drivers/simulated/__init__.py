"""A camera that does not exist, with faults on request."""
