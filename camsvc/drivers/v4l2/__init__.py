"""A webcam or grabber on Linux, by ioctl."""
