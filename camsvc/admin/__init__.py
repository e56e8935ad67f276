"""What operators ask: what is attached, and what is wrong with it."""
