"""Run moto's S3 server until the process is told to end. Started by ``servers.moto``; takes the port to listen on."""

from __future__ import annotations

import signal
import sys
import threading

from moto.moto_server.threaded_moto_server import ThreadedMotoServer


def main() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False)
    server.start()
    ended.wait()
    server.stop()


if __name__ == "__main__":
    main()
