"""Errors that a user can mend: one line that says what is wrong and what to do.

`exit_code` is what the command line ends with: 1 the data, a run folder or a missing extra is at
fault; 2 an option is at fault.
"""


class JaxvaeError(Exception):
    """Base of the errors a user can mend; its message is one line."""

    exit_code = 1


class DataError(JaxvaeError, ValueError):
    """A panel, or a file it was to come from, is at fault."""


class FolderError(JaxvaeError, ValueError):
    """A study's folder is at fault: missing, in the way, damaged or of a newer schema."""


class MissingExtraError(JaxvaeError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class OptionError(JaxvaeError, ValueError):
    """An option, or the argument behind it, is at fault."""

    exit_code = 2
