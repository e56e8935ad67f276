"""A gRPC camera service whose cameras cannot hang it.

This file stays empty of imports: worker processes load it under other interpreters, which have
none of the service's packages.
"""

__version__ = "0.1.0"
