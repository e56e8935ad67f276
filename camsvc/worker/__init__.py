"""A camera's driver in a process of its own: `parent` supervises, `child` runs in the process."""
