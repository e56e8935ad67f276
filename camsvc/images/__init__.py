"""Pictures in the worker: JPEG structure, encoding and scaling, EXIF."""
