"""What the rigs share."""


class RigMissing(Exception):
    """A rig cannot run here; the text says why, in one line."""
