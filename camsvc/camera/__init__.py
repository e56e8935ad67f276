"""One camera: its queue, captures, supervision and recovery."""
