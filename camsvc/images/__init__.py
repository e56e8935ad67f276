"""Pictures in the worker: pixels, file types and structure, encoding and scaling, EXIF."""
