"""Start a real OpenSSH server on the loopback interface, wait until it answers, and stop it by its process id."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import free_ports, wait_for_port

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


@dataclass(frozen=True)
class SshServer:
    """A running server.

    Attributes:
        directory: Its keys, its known_hosts and the log of what was asked of it by SFTP.
        user: Whom it lets log in.
    """

    directory: Path
    port: int
    user: str

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def key(self) -> Path:
        return self.directory / "user"

    @property
    def log(self) -> str:
        """What its SFTP server was asked."""
        return (self.directory / "sftp.log").read_text("utf-8", "replace")

    def url(self, path: Path | str, port: int = 0) -> str:
        return f"sftp://{self.user}@127.0.0.1:{port or self.port}{path}"

    def known_as(self, port: int) -> str:
        """A line of known_hosts for the same server behind another port."""
        return self.known_hosts.read_text().replace(f":{self.port}", f":{port}")


@contextmanager
def sshd(directory: Path, require_program: Callable[[str], str], *sftp_options: str) -> Iterator[SshServer]:
    """An OpenSSH server that lets the user of the tests in with ``directory/user``."""
    program, keygen = require_program("sshd"), require_program("ssh-keygen")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", directory / name], check=True)
    (port,) = free_ports(1)
    public = (directory / "host.pub").read_text().strip()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    (directory / "authorized").write_text((directory / "user.pub").read_text())
    (directory / "sftp.log").touch(mode=0o666)
    options = " ".join(("-e", "-l", "VERBOSE", *sftp_options))
    (directory / "conf").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/authorized\nPermitRootLogin prohibit-password\nMaxStartups 200\n"
        f"PasswordAuthentication no\nAllowTcpForwarding yes\n"
        f"Subsystem sftp {SFTP_SERVER} {options} 2>>{directory}/sftp.log\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where its unprivileged half is locked up
    with (directory / "sshd.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", directory / "conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_for_port(process, port, "sshd")
        yield SshServer(directory, port, getpass.getuser())
    finally:
        process.kill()
        process.wait()
