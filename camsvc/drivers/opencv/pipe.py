"""A video that is live, on its way from our own connection to FFmpeg.

So a camera has one viewer and one login, which many allow no more of; its certificate was checked;
and a wait for it ends.
"""

import contextlib
import http.client
import os
import threading

from camsvc.drivers.opencv.http_source import HttpSource

_CHUNK_BYTES = 64 << 10


class Pipe:
    """Passes an answer's content on. It ends when nothing has come for `limit_s`."""

    def __init__(self, http: HttpSource, answer: http.client.HTTPResponse, limit_s: float) -> None:
        self._http = http
        self._answer = answer
        self._limit_s = limit_s
        self._out, self._in = os.pipe()
        self.name = f"pipe:{self._out}"
        """What FFmpeg opens."""
        threading.Thread(target=self._pass_on, name="pipe", daemon=True).start()

    def stop(self) -> None:
        """Let FFmpeg come to the end soon."""
        self._http.close()

    def close(self) -> None:
        """End it; FFmpeg must not read from it any more."""
        self._http.close()
        os.close(self._out)

    def _pass_on(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            self._http.allow(self._limit_s)
            while data := self._answer.read1(_CHUNK_BYTES):
                while data:  # a pipe may take less
                    data = data[os.write(self._in, data) :]
                self._http.allow(self._limit_s)
        os.close(self._in)
