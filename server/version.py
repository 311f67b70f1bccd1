"""The version, as installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("textgrad-mcp")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0+unknown"
