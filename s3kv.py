"""The import name of the older `s3kv` package: code written for it runs unchanged."""

from s3kv_flow import *  # noqa: F403
from s3kv_flow import __all__ as __all__
from s3kv_flow import __version__ as __version__
