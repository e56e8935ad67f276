"""The program of a worker process, in which one camera's driver runs."""
