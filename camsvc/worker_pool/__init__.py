"""The service's side of worker processes: start, call, supervise, replace."""
