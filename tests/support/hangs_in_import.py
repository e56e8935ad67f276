"""A driver whose library hangs when it is imported."""

import time

time.sleep(1000)
