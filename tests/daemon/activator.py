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
    """Start the command in a process of its own; its number. To end is blocked meanwhile: the new
    process would take it for what this one does then, and forget it as it becomes the command."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
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
    # Signals are read from a socket: one that comes just before a wait would not end the wait.
    told, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno())
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    print("listens", flush=True)
    child, crashed = 0, False
    while True:
        if not child and (crashed or listener in select.select([told, listener], [], [])[0]):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            child = run(about["command"], about["environment"], about["log"], listener)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if signal.SIGTERM in told.recv(4096):
            break
        if child:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                child, crashed = 0, os.WIFSIGNALED(status)
    listener.close()
    if about.get("remove"):
        place.unlink(missing_ok=True)
    if child:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


main()
