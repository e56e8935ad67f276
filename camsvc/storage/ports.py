"""What the storage needs of other rooms."""

from collections.abc import Awaitable, Callable
from typing import Protocol

Read = Callable[[int, int], Awaitable[bytes]]
"""Gives the bytes of a file from an offset on, up to so many."""


class Thumbnailer(Protocol):
    """Makes small pictures, where a picture that harms its decoder harms nobody else."""

    async def make(self, read: Read, size_bytes: int) -> bytes:
        """Return the thumbnail of a picture of `size_bytes`: a JPEG.

        Raises:
            Unsupported: none can be made of it.
            WorkerLost: none can be made now.
        """
