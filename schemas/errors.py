"""The two kinds of trouble: bad data is set aside and counted, a broken set-up stops the build."""


class DataError(Exception):
    """This recording or turn can't be used; the build goes on without it.

    `code` is a short name to count by, the message one sentence for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class SetupError(Exception):
    """The build can't go on: what is wrong, where, and what to do, in one message."""
