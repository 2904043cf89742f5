"""The one error a reader should see: a sentence that says what is wrong, where, and what to do."""


class InputError(ValueError):
    """Something that was given (a file, a row, a parameter) cannot be used.

    In a notebook the traceback is replaced by the sentence itself, because the reader can act on the
    sentence and not on the frames.
    """

    def _render_traceback_(self) -> list[str]:
        """Show one line in IPython (its documented hook for custom tracebacks)."""
        return [f"{type(self).__name__}: {self}"]


def first_line(error: Exception) -> str:
    """Return the first line of a library's error, for use inside a sentence; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
