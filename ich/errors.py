"""The one exception that a user is meant to read."""


class InputError(Exception):
    """Bad input: shown as one line, without a traceback; the script ends with exit status 2.

    The message says which file, what was found, what was expected, and what to do.
    """
