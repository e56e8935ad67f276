"""Camera drivers. Each runs in a worker process only, and alone imports its camera's library."""
