"""What each command does with the driver. All of it runs on the main thread, one after the other.

A still has three steps: apply the shot's controls, take it, restore the controls.
`Prepare` does the first ahead of time; until the last is done, no live frame is read.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.controls import checked
from camsvc.images import exif, thumbnail
from camsvc.ipc import messages as m
from camsvc.ipc.shared_memory import PICTURE_SLOT, THUMBNAIL_SLOT, SharedBlock
from camsvc.model import clock, errors, redaction
from camsvc.model.values import MAX_DETAILS, MAX_WARNINGS, ControlValue, Device, DeviceInfo, Shot
from camsvc.worker import description, gate
from camsvc.worker.live import LiveReader
from camsvc.worker.still import hand_over


class Commands:
    """The driver, its device, and what may be done with them."""

    def __init__(
        self,
        block: SharedBlock,
        driver_class: type[Driver] | errors.DriverFault,
        *,
        kept_from: str,
        live: LiveReader,
        interrupt: threading.Event,
        on_progress: Callable[[int], None],
    ) -> None:
        self._block = block
        self._loaded = driver_class
        self._kept_from = kept_from
        self._live = live
        self._interrupt = interrupt
        self._on_progress = on_progress
        self.driver: Driver | None = None
        self._device: DeviceInfo | None = None
        self._applied: Shot | None = None
        """The shot whose controls are set."""
        self._prepared = False
        """Whether all that can be done before that shot has been."""
        self._before: dict[str, ControlValue] = {}
        """Their values from before."""
        self._had_device = False
        """Whether the device may have been opened here, if only in part."""
        self._percent: int | None = None
        """The last progress of the still under way; None: there is none."""
        self._handlers: dict[type, Callable[..., m.Answer]] = {
            m.Open: self._open,
            m.Recover: self._recover,
            m.Close: self._close,
            m.Prepare: self._prepare,
            m.Capture: self._capture,
            m.ListControls: self._list_controls,
            m.SetControls: self._set_controls,
            m.Discover: self._discover,
            m.Diagnose: self._diagnose,
            m.Thumbnail: self._thumbnail,
        }

    @property
    def prepared(self) -> bool:
        """Whether the camera waits for a still, and is to be left alone until then."""
        return self._applied is not None

    @property
    def has_health_check(self) -> bool:
        """Whether the device is open, and its driver can check it."""
        is_open = self.driver is not None and self._device is not None
        return is_open and self._driver_class.health_check is not Driver.health_check

    def run(self, command: object) -> m.Answer:
        """Carry a command out. Raises whatever the driver does."""
        if not isinstance(command, m.Close) and not self._awaits(command):  # these do it themselves
            self.unprepare()
        return self._handlers[type(command)](command)

    def health_check(self) -> DeviceInfo | None:
        """Return the open device where it has changed. Raises whatever the driver does."""
        changed = self.opened.health_check()
        if changed is None:
            return None
        self._device = self._described(changed)
        return self._device

    @property
    def opened(self) -> Driver:
        """The driver.

        Raises:
            DriverError: its device is not open.
        """
        if self.driver is None or self._device is None:
            raise errors.DriverError("the camera is not open")
        return self.driver

    @property
    def _open_device(self) -> DeviceInfo:
        if self._device is None:
            raise errors.DriverError("the camera is not open")
        return self._device

    def unprepare(self) -> None:
        """Undo `Prepare`: no still comes, or another one."""
        self._prepared = False
        self._restore_controls()

    def _awaits(self, command: object) -> bool:
        """Whether it is the still that the camera is prepared for."""
        is_same = isinstance(command, m.Capture) and command.shot == self._applied
        return self._prepared and is_same

    def _restore_controls(self) -> None:
        """Set the controls as they were before the shot, as far as the camera accepts that.

        It may refuse a value that it had itself, on automatic. That does not affect the picture.
        """
        before, self._before, self._applied = self._before, {}, None
        if not before:
            return
        try:
            self.opened.set_controls(before)
        except errors.InvalidRequest:
            for name, value in before.items():
                try:
                    self.opened.set_controls({name: value})
                except errors.InvalidRequest as error:
                    sys.stderr.write(f"{name} was not restored after a shot: {error}\n")

    def _open(self, command: m.Open) -> m.Answer:
        redaction.hide(redaction.secrets_in(command.settings))
        state = DriverState(command.driver_state, self._block.write_state)
        self._block.write_state(command.driver_state)
        self._device = None
        self.driver = self._driver_class(command.settings, state)
        self.driver.interrupt = self._interrupt
        self.driver.progress = self._report_progress
        self._device = self._described(self._open_driver(self.driver))
        self._apply(command.controls)
        return m.Opened(self._device)

    def _open_driver(self, driver: Driver) -> DeviceInfo:
        had_device, self._had_device = self._had_device, True
        try:
            return driver.open()
        except errors.DeviceAway as error:
            self._had_device = had_device
            if had_device and isinstance(error, errors.DeviceInUse):
                why = "its library has not let go of it, and needs a new process"
                raise errors.WorkerLost(f"the camera is in use: {why}") from error
            raise

    def _described(self, given: DeviceInfo) -> DeviceInfo:
        device = description.described(given)
        live_view = device.live_view and self._driver_class.read is not Driver.read
        warnings = [*device.warnings, *exif.warnings()][:MAX_WARNINGS]
        own = {"sandbox": self._kept_from}
        details = dict(islice((own | device.details | own).items(), MAX_DETAILS))
        return replace(device, live_view=live_view, warnings=warnings, details=details)

    def _recover(self, _: m.Recover) -> m.Answer:
        self._live.stop(self.driver)
        self.opened.recover()
        return m.Done()

    def _close(self, _: m.Close) -> m.Answer:
        driver = self.driver
        if driver is not None:
            with contextlib.ExitStack() as steps:  # each is done, whatever becomes of the others
                steps.callback(self._dispose, driver)
                steps.callback(self._live.stop, driver)
                self.unprepare()
        return m.Done()

    def _dispose(self, driver: Driver) -> None:
        self.driver = self._device = None
        driver.close()

    def _prepare(self, command: m.Prepare) -> m.Answer:
        try:
            self._apply_shot(command.shot)
            self.opened.prepare(command.shot)
        except Exception:
            self.unprepare()
            raise
        self._prepared = True
        return m.Done()

    def _capture(self, command: m.Capture) -> m.Answer:
        shot, driver = command.shot, self.opened
        prepared, self._prepared = self._prepared, False
        try:
            if not prepared:
                self._apply_shot(shot)
                self._on_progress(0)  # the camera can do what is asked for
            self._percent = 0
            started = time.perf_counter()
            asked = clock.now()
            given = driver.capture(shot)
            driver_s = time.perf_counter() - started
            picture = gate.still(given, shot, asked, driver.controls())
        finally:
            self._percent = None
            self._restore_controls()
        return hand_over(picture, command, self._open_device, driver_s, self._block)

    def _apply_shot(self, shot: Shot) -> None:
        """Do what can be done before the trigger; `_restore_controls` has to follow in any case.

        Raises:
            Unsupported, InvalidRequest: the camera cannot do what the shot asks for.
        """
        driver, device = self.opened, self._open_device
        if shot.format not in device.formats:
            formats = ", ".join(device.formats)
            raise errors.Unsupported(
                f"format {shot.format} is not available; this camera offers: {formats}"
            )
        if not device.capture_during_live_view:
            self._live.suspend(driver)
        controls = driver.controls() if shot.controls else []
        wanted = checked(controls, shot.controls)
        self._before = {
            c.name: c.value for c in controls if c.name in wanted and c.value is not None
        }
        self._applied = shot
        if wanted:
            driver.set_controls(wanted)

    def _report_progress(self, percent: int) -> None:
        """Report how far the still under way is, on whatever thread the driver calls this."""
        percent = min(100, max(0, int(percent)))
        if self._percent is not None and percent != self._percent:
            self._percent = percent
            self._on_progress(percent)

    def _list_controls(self, _: m.ListControls) -> m.Answer:
        return m.Controls(description.legible(self.opened.controls()))

    def _set_controls(self, command: m.SetControls) -> m.Answer:
        self._apply(command.values)
        return m.Controls(description.legible(self.opened.controls()))

    def _apply(self, values: dict[str, ControlValue]) -> None:
        if values:
            self.opened.set_controls(checked(self.opened.controls(), values))

    def _discover(self, command: m.Discover) -> m.Answer:
        def configured_as(device: Device) -> str:
            ids = command.configured.items()
            return next((i for i, s in ids if self._driver_class.selects(s, device)), "")

        redaction.hide(redaction.secrets_in(command.configured))
        found = self._driver_class.discover(list(command.configured.values()))
        return m.Discovered(
            [replace(description.legible(d), camera=configured_as(d)) for d in found]
        )

    def _diagnose(self, command: m.Diagnose) -> m.Answer:
        redaction.hide(redaction.secrets_in(command.settings))
        return m.Diagnosed(description.legible(self._driver_class.diagnose(command.settings)))

    def _thumbnail(self, command: m.Thumbnail) -> m.Answer:
        made = thumbnail.thumbnail_of(self._block.read(PICTURE_SLOT, command.size_bytes))
        if made is None or len(made) > m.MAX_THUMBNAIL_BYTES:
            raise errors.Unsupported("no thumbnail can be made of it")
        self._block.write(THUMBNAIL_SLOT, made)
        return m.Thumbnailed(len(made))

    @property
    def _driver_class(self) -> type[Driver]:
        if isinstance(self._loaded, errors.DriverFault):
            raise self._loaded
        return self._loaded
