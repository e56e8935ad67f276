"""One camera's live view: one reader, any number of viewers."""
