"""The check of `lfm doctor` for `lfm daemon install`: would the daemon start, and this very one?"""

import os

from lfm2audio_mlx.errors import DaemonError
from lfm_cli.finding import Finding
from lfm_cli.program import stable_program

__all__ = ["agent"]

ANEW = "`lfm daemon install`"


def agent(_: str | None) -> Finding:
    """What is installed, against what would be installed now with the same options."""
    from lfm_daemon import managers
    from lfm_daemon.agent import wished

    found = managers.installed()
    if found is None:
        return Finding("ok", "not installed; `lfm daemon install` has the daemon start at need")
    system = managers.manager()
    told = f"{system.paths[0]}: starts {found.program[0]}"
    if not os.access(found.program[0], os.X_OK):
        return Finding("fault", f"{told}, which is gone", f"{ANEW}, or `lfm daemon uninstall`")
    keep_alive = found.keep_alive
    now = wished(stable_program(), keep_alive, found.environment.get("LFM_MODEL"))
    mend = ANEW if keep_alive is None else f"`lfm daemon install --keep-alive={keep_alive}`"
    if found.program != now.program:
        return Finding("note", f"{told}, and this is {' '.join(now.program)}", mend)
    if tuple(path.read_bytes() for path in system.paths) != system.render(now):
        return Finding("note", f"{told}, and not as it would be installed now", mend)
    try:
        if not system.loaded():
            return Finding("note", f"{told}, but {system.name} has not loaded it", mend)
    except DaemonError as error:
        return Finding("note", str(error))
    return Finding("ok", told)
