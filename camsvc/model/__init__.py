"""The domain's words: values, errors, states and records. Standard library only."""
