"""Generated from protos/camapi/v1 by scripts/gen.py. Do not edit."""
