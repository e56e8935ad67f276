"""camctl: the camera service on the command line. Needs the extra `cli`."""
