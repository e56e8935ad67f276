"""The settings: one TOML file, read into frozen values."""
