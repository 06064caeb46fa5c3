"""The module's version: that of the library and header that it was made with."""

__version__ = "0.1.0"
