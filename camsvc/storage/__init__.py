"""Captures and events on disk: files, database, retention, event feed."""
