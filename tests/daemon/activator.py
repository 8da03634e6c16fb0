"""Socket activation as systemd does it, in a few lines: `activator.py COMMAND.json`.

Binds the socket where there is none yet, waits until somebody connects, and runs the command with
the socket as its file descriptor 3. When the command has ended, it waits again; one that crashed is
run again at once.
"""

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path


def run(command: list[str], environment: dict[str, str], log: str, listener: socket.socket) -> int:
    """Start the command in a process of its own; its number."""
    pid = os.fork()
    if pid:
        return pid
    os.chdir("/")
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(told, 1)
    os.dup2(told, 2)
    handed = os.dup(listener.fileno())
    os.dup2(handed, 3)
    listening = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    os.execve(command[0], command, {**os.environ, **environment, **listening})


def main() -> None:
    about = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    place = Path(about["socket"])
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o177)
    listener.bind(str(place))
    os.umask(0o022)
    listener.listen(128)
    child = 0

    def end(number: int, frame: object) -> None:
        listener.close()
        if about.get("remove"):
            place.unlink(missing_ok=True)
        if child:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print("listens", flush=True)
    crashed = False
    while True:
        if not crashed:
            select.select([listener], [], [])
        child = run(about["command"], about["environment"], about["log"], listener)
        _, status = os.waitpid(child, 0)
        child, crashed = 0, os.WIFSIGNALED(status)


main()
