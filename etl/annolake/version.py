"""The version, once: for the package, the wheel and the User-Agent."""

__version__ = "0.1.0"
