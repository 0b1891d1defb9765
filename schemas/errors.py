"""The two kinds of errors: bad data is set aside and counted, a broken set-up stops the build."""


class DataError(Exception):
    """A recording, turn or row can't be used, and the build continues without it.

    `code` is a short name by which such errors are counted, `message` one sentence for a reader.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class SetupError(Exception):
    """The build can't continue. The message says what is wrong, where, and what to do."""


class StoreUnreachableError(SetupError):
    """A store doesn't answer. The same may work once it does."""
