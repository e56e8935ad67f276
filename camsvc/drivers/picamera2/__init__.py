"""A camera module of a Raspberry Pi, by Picamera2."""
