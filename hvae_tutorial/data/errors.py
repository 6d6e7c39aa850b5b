"""The one error of this package that is about the outside world."""


class DataError(RuntimeError):
    """A data set could not be found, downloaded, stored or read; the message says what, where and what to do."""
