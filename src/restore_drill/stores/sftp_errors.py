"""What an SSH or SFTP error means to the person who has to mend it.

Exceptions are told apart by the names of their classes, so that this module needs no import of asyncssh. Messages of
the server are not quoted: they are its own text, and may hold names and addresses.
"""

from __future__ import annotations

import errno
import os

from restore_drill.stores.trying import Diagnosis, Nature

_NETWORK = "Check host and port of the store's url, DNS and firewall from this machine."
_SERVER = "Look at the SSH server's log, and try `sftp` by hand as the user who runs the drills."
_SLOW = "Is the server or the line overloaded? Run fewer drills at a time, or raise the store's deadlines."
_LOGIN = (
    "Check `credentials` (private_key, password) and the user of the store's url: is the public key in that user's "
    "authorized_keys, and is the account open?"
)

#: Classes of asyncssh and of the standard library, the most specific first.
EXCEPTIONS: dict[str, tuple[Nature, str, str]] = {
    "SFTPNoSuchFile": (Nature.ABSENT, "there is no such file", ""),
    "SFTPNoSuchPath": (Nature.ABSENT, "there is no such file", ""),
    "SFTPPermissionDenied": (
        Nature.FINAL,
        "the account may not read it",
        "Give the account of the store's url read access to it and to the directories above it.",
    ),
    "SFTPConnectionLost": (Nature.AGAIN, "the connection to the SFTP server broke", _NETWORK),
    "SFTPNoConnection": (Nature.AGAIN, "the connection to the SFTP server broke", _NETWORK),
    "SFTPFailure": (Nature.FINAL, "the SFTP server failed at it", "Test the server's disk; look at its log."),
    "SFTPError": (Nature.FINAL, "the SFTP server refused it", _SERVER),
    "PermissionDenied": (Nature.FINAL, "the SSH server does not let the user log in", _LOGIN),
    "ChannelOpenError": (
        Nature.FINAL,
        "the SSH server serves no SFTP to this user",
        "Let sshd_config have `Subsystem sftp internal-sftp`, and the account be allowed to use it.",
    ),
    "KeyExchangeFailed": (
        Nature.FINAL,
        "the SSH server and this machine have no algorithm in common that both take for safe",
        "Update the server, or renew its host key (an old DSA or SHA-1 one?).",
    ),
    "ProtocolNotSupported": (Nature.FINAL, "what answers there is no SSH server that can be used", _NETWORK),
    "ServiceNotAvailable": (Nature.FINAL, "the SSH server offers no login", _SERVER),
    "ConnectionLost": (Nature.AGAIN, "the connection to the SSH server broke", _NETWORK),
    "DisconnectError": (Nature.AGAIN, "the SSH server ended the connection", _SERVER),
    "KeyEncryptionError": (
        Nature.FINAL,
        "the private key is encrypted, and the passphrase does not open it",
        "Give its `passphrase` under credentials.",
    ),
    "KeyImportError": (
        Nature.FINAL,
        "private_key is no private key that can be read",
        "Let it refer to the whole text of an OpenSSH or PEM private key; an encrypted one needs its `passphrase`.",
    ),
    "TimeoutError": (Nature.TIMEOUT, "the SFTP server does not answer in time", _SLOW),
    "gaierror": (Nature.AGAIN, "the name of the SSH server cannot be resolved", _NETWORK),
    "OSError": (Nature.AGAIN, "the SSH server cannot be reached", _NETWORK),
}

#: An answer that ends before the file does.
CUT_SHORT = Diagnosis(*EXCEPTIONS["SFTPConnectionLost"])
_WORDS = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE}


def diagnose(problem: BaseException) -> Diagnosis | None:
    """Say what an exception means; ``None`` for one that is neither of SSH nor of the network."""
    for kind in type(problem).__mro__:
        if kind.__name__ in EXCEPTIONS:
            nature, cause, remedy = EXCEPTIONS[kind.__name__]
            return Diagnosis(nature, cause + _detail(problem), remedy)
    return None


def _detail(problem: BaseException) -> str:
    number = getattr(problem, "errno", None)
    return f" ({os.strerror(number).lower()})" if number in _WORDS else ""
