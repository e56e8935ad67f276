"""A camera that is not there, with faults on request."""
