"""Cameras on the USB, by libgphoto2; `camera` has the driver."""
