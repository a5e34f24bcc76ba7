"""Start a real nginx on the loopback interface, wait until it answers, and stop it by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import certificate, free_ports, wait_for_port


@dataclass(frozen=True)
class WebServer:
    """A running server: ``/files/`` is the directory ``files``, with index pages; ``/json/`` the same with JSON ones.

    Attributes:
        port: Of http.
        tls: Of https, with the certificate ``server.pem``; ``expired`` likewise, with one that is out of date.
    """

    directory: Path
    port: int
    tls: int
    expired: int

    @property
    def files(self) -> Path:
        return self.directory / "files"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Method, path, status and range of every request."""
        return (self.directory / "access.log").read_text("utf-8", "replace")


_CONF = """
daemon off; master_process off; pid {here}/pid; error_log {here}/error.log warn; worker_rlimit_nofile 1024;
events {{ worker_connections 512; }}
http {{
  log_format short '$request_method $request_uri $status $http_range $http_authorization';
  access_log {here}/access.log short;
  client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
  uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl;
    ssl_certificate {here}/server.pem; ssl_certificate_key {here}/server.key;
    root {here};
    location /files/ {{ autoindex on; }}
    location /json/ {{ alias {here}/files/; autoindex on; autoindex_format json; }}
    location /bare/ {{ alias {here}/files/; }}
    location /hidden/ {{ alias {here}/files/; if ($uri ~ "/$") {{ return 404; }} }}
    location /whole/ {{ alias {here}/files/; autoindex on; max_ranges 0; }}
    location /locked/ {{ alias {here}/files/; autoindex on; auth_basic x; auth_basic_user_file {here}/users; }}
    location /headless/ {{ alias {here}/files/; autoindex on; if ($request_method = HEAD) {{ return 403; }} }}
    location /signed/ {{ alias {here}/files/; if ($arg_sig != "s3cr3t-sig") {{ return 403; }}
                        if ($request_method = HEAD) {{ return 403; }} }}
    location /digests/ {{ alias {here}/files/; autoindex on; include {here}/digests.conf; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /files/$1 redirect; }}
    location /to/secure/ {{ rewrite ^/to/secure/(.*)$ https://127.0.0.1:{tls}/files/$1 redirect; }}
    location /to/plain/ {{ rewrite ^/to/plain/(.*)$ http://127.0.0.1:{port}/files/$1 redirect; }}
    location /to/localhost/ {{ rewrite ^/to/localhost/(.*)$ http://localhost:{port}/echo/$1 redirect; }}
    location /to/metadata/ {{ return 302 http://169.254.169.254/latest/; }}
    location /to/file/ {{ return 302 file:///etc/passwd; }}
    location /loop/ {{ rewrite ^/loop/(.*)$ /loop/$1 redirect; }}
    location /echo/ {{ alias {here}/files/; autoindex on; }}
    location /login/ {{ default_type text/html; return 200 '<html><title>Log in</title><a href="x">x</a></html>'; }}
    location /busy/ {{ return 503; }}
  }}
  server {{
    listen 127.0.0.1:{expired} ssl; root {here}; location /files/ {{ autoindex on; }}
    ssl_certificate {here}/expired.pem; ssl_certificate_key {here}/expired.key;
  }}
}}
"""


@contextmanager
def nginx(directory: Path, require_program: Callable[[str], str]) -> Iterator[WebServer]:
    """A web server."""
    program = require_program("nginx")
    directory.mkdir(parents=True, exist_ok=True)
    for each in (directory, *list(directory.parents)[:3]):
        if os.geteuid() == 0 and each.stat().st_uid == 0:
            each.chmod(each.stat().st_mode | 0o011)  # as root it becomes nobody
    (directory / "files").mkdir()
    certificate(directory / "server.pem", "127.0.0.1")
    certificate(directory / "expired.pem", "127.0.0.1", days=-1)
    (directory / "users").write_text("drill:{PLAIN}sesame-94\n")
    (directory / "digests.conf").write_text("")
    port, tls, expired = free_ports(3)
    (directory / "conf").write_text(_CONF.format(here=directory, port=port, tls=tls, expired=expired))
    process = subprocess.Popen(
        [program, "-p", directory, "-e", directory / "error.log", "-c", directory / "conf"], stdin=subprocess.DEVNULL
    )
    try:
        wait_for_port(process, port, "nginx")
        yield WebServer(directory, port, tls, expired)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
