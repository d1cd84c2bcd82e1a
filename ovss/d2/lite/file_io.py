"""Files: the path manager for local paths and http(s) URLs. Imports iopath.

It is our own, so that other libraries' handlers do not meet ours.
"""

from iopath.common.file_io import HTTPURLHandler
from iopath.common.file_io import PathManager as PathManagerBase

PathManager = PathManagerBase()
PathManager.register_handler(HTTPURLHandler())
