"""The one error that a user is meant to read."""


class UserError(Exception):
    """A mistake in a file, a record or a flag, told in one line with its remedy.

    Entry points print it as ``error: ...`` without a traceback and exit with code 2;
    library callers catch it like any other exception.
    """


class NotFinite(UserError):
    """An edit gave a loss or weights that are not finite; what came before it is kept."""
