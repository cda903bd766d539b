"""What every test may rely on, however the suite was started."""

import signal


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
