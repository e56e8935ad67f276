"""A device, file or stream that OpenCV reads."""
