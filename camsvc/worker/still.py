"""A still on its way out of the worker: finished, and put into the shared memory.

The worker is given no file: what becomes of the bytes is the service's, see `storage.staged_shot`.
"""

import time

from camsvc.images import codec, exif
from camsvc.ipc.messages import Capture, Captured, ImageInfo
from camsvc.ipc.shared_memory import SLOT_BYTES, SharedBlock
from camsvc.model.errors import DriverError
from camsvc.model.values import DeviceInfo


def hand_over(
    picture: codec.Picture,
    command: Capture,
    device: DeviceInfo,
    driver_s: float,
    block: SharedBlock,
) -> Captured:
    """Finish a picture that has passed the gate as `command` wants it, and hand it over.

    Raises:
        DriverError: the shot is too large.
    """
    started = time.perf_counter()
    frame = picture.frame
    data, output = codec.finish(picture, command.shot)
    size_px = output.width_px, output.height_px
    pieces = exif.tagged(data, frame, device, command.comment, size_px=size_px)
    image = ImageInfo(
        size_bytes=sum(map(len, pieces)),
        mime_type=output.mime_type,
        width_px=output.width_px,
        height_px=output.height_px,
        acquisition_time_ns=frame.acquisition_time_ns,
        exposure_us=frame.exposure_us,
        controls=dict(frame.controls),
        name=frame.name,
    )
    others = [
        ImageInfo(
            len(file.data),
            file.mime_type,
            *(file.size_px or (0, 0)),
            frame.acquisition_time_ns,
            name=file.name,
        )
        for file in frame.others
    ]
    size_bytes = sum(each.size_bytes for each in (image, *others))
    if size_bytes > SLOT_BYTES:
        raise DriverError(f"the shot's files have {size_bytes} bytes; allowed: {SLOT_BYTES}")
    block.write_still([*pieces, *(file.data for file in frame.others)])
    encode_s = time.perf_counter() - started
    return Captured(image, driver_s, encode_s, others, list(frame.warnings))
