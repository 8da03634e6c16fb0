"""The log: one user's alone, never large, and nothing in it that anybody said."""

import os
import re
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from workbench import python

from lfm_daemon.paths import log_path

WORD = "Rumpelstilzchen"
BEGIN = """
import logging, os, sys
from lfm_daemon.logs import log_to
log_to(foreground=sys.argv[1] == "foreground")
log = logging.getLogger("lfm_daemon.test")
"""


def logged(code: str, where: str = "background", umask: int = 0) -> str:
    """What a daemon that does this writes to stderr."""
    before = os.umask(umask)
    try:
        with python(BEGIN + code, where, stderr=subprocess.PIPE) as process:
            errors = process.communicate(timeout=20)[1]
    finally:
        os.umask(before)
    assert process.returncode == 0, errors
    return errors


def files() -> list[Path]:
    return sorted(log_path().parent.iterdir())


@pytest.mark.parametrize("umask", [0, 0o022])
def test_a_log_is_one_user_s(umask: int):
    assert logged("log.info('begins')", umask=umask) == ""
    assert files() == [log_path()]
    assert stat.S_IMODE(log_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(log_path().parent.stat().st_mode) == 0o700


def test_a_line_has_its_time_in_utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    logged("log.info('begins')\nlog.debug('details')")
    line = re.fullmatch(r"(\S{19})\.\d{3}Z INFO begins\n", log_path().read_text())
    assert line
    then = datetime.fromisoformat(f"{line[1]}+00:00")
    assert abs((datetime.now(UTC) - then).total_seconds()) < 60


def test_in_the_foreground_it_is_on_stderr_too():
    errors = logged("log.info('begins')", "foreground")
    assert errors.endswith("begins\n") and errors == log_path().read_text()


def test_only_the_newest_lines_are_kept():
    logged("for number in range(100_000): log.info('%d %s', number, 'x' * 100)", umask=0)
    assert [path.name for path in files()] == [
        "daemon.log",
        *(f"daemon.log.{n}" for n in (1, 2, 3)),
    ]
    assert all(path.stat().st_size <= 2 << 20 for path in files())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files()} == {0o600}
    assert " 99999 x" in log_path().read_text()


def test_a_disk_that_is_full_keeps_nobody_from_being_served():
    full = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
for _ in range(3):
    log.info("a line that has no room")
"""
    assert logged(full) == ""


def test_of_other_libraries_only_what_is_amiss_is_in_it():
    logged("logging.getLogger('uvicorn.error').info('chatter')")
    assert files() == []
    logged("logging.getLogger('asyncio').error('amiss')")
    assert log_path().read_text().endswith(" ERROR amiss\n")


@pytest.mark.parametrize("where", ["background", "foreground"])
def test_an_exception_is_logged_without_its_message(where: str):
    """Which may hold what somebody said. uvicorn and asyncio log what was raised in these ways."""
    errors = logged(
        f"""
try:
    {{}}["{WORD}"]
except KeyError as error:
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=error)
    log.exception("%r", error)
""",
        where,
    )
    lines = log_path().read_text().splitlines()
    assert len(lines) == 2 and all("KeyError at " in line for line in lines)
    assert WORD not in log_path().read_text() + errors
