"""PostgreSQL, Redis and S3 as real servers from Python wheels, under one supervisor; Linux only."""

from ops.stack.alone import database_alone
from ops.stack.endpoints import Endpoints
from ops.stack.errors import HomeBusyError, StackError
from ops.stack.home import Home
from ops.stack.process import ServerProcess
from ops.stack.stack import Stack
from ops.stack.supervised import Back, Ended

__all__ = [
    "Back",
    "Ended",
    "Endpoints",
    "Home",
    "HomeBusyError",
    "ServerProcess",
    "Stack",
    "StackError",
    "database_alone",
]
