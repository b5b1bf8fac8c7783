"""What can go wrong, and the exit code that says so.

Every message is one sentence: the subject, the cause, the cure, and where it was found.
This module imports nothing from deblurkit; everything else may import it.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the ``deblurkit`` command returns to the shell."""

    DONE = 0
    RUN_FAILED = 1
    USAGE = 2
    PLUGIN = 3
    INTERRUPTED = 130


class DeblurkitError(Exception):
    """Base of every error that deblurkit raises on purpose; its text is meant for the user."""

    exit_code = ExitCode.RUN_FAILED


class UsageError(DeblurkitError):
    """The command line, or a file that it names, asks for something that makes no sense."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A recipe, config file or flag names an unknown key or holds an impossible value."""


class ImageError(DeblurkitError):
    """A picture cannot be read, or cannot be written."""


class KernelError(UsageError):
    """A blur kernel cannot be read or is no kernel: NaN, negative, empty, larger than the picture."""


class RunError(DeblurkitError):
    """A run started and could not be finished."""


class PluginError(DeblurkitError):
    """A plugin that is needed is broken, missing, or clashes with another one."""

    exit_code = ExitCode.PLUGIN
