"""What launchd and systemd are given: whole, as their manuals want it, and read back the same."""

import json
import os
import plistlib
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from agents import ODD, FakeSystem

from lfm2audio_mlx.errors import DaemonError
from lfm_daemon import launch, managers
from lfm_daemon.agent import LABEL, Agent, from_plist, from_units, to_plist, to_units, wished
from lfm_daemon.client import Daemon
from lfm_daemon.instance import listening, running
from lfm_daemon.managers import Launchd, Systemd, install, installed, manager, uninstall
from lfm_daemon.paths import log_path, private, run_folder, socket_path

SCHEMA = json.loads(Path(__file__).with_name("launchd.plist.schema.json").read_text("utf-8"))
PROGRAM = (sys.executable, "-P", "-m", "lfm_cli")
RECORDING = Path(__file__).parents[1] / "data" / "recordings" / "seen_00.wav"
NAMES = {
    "usual": "/opt/homebrew/bin/lfm",
    "space": "/Users/Ann Lee/bin/lfm",
    "quotes": '/Users/o\'"neill"/lfm',
    "emoji": "/Users/🏡/lfm",
    "percent": "/a%b/%h/%%/lfm",
    "dollar": "/a$b/$HOME/$$/lfm",
    "backslash": r"/a\b/\x20/\\/lfm",
    "markup": "/a<b>&amp;/lfm",
    "dash": "/-rf/--/lfm",
}


def agent(program: str = "/opt/homebrew/bin/lfm", **more: Any) -> Agent:
    """One for which nothing has to be there."""
    return replace(
        Agent((program,), ("--keep-alive=30m",), {}, "/home/a/run/lfm.sock", "/home/a/log"), **more
    )


def odd(name: str) -> Agent:
    place = str(Path(NAMES[name]).parent)
    return agent(
        NAMES[name],
        options=(f"--keep-alive={name}", NAMES[name]),
        environment={"LFM_HOME": place, "LFM_MODEL": f"{place}/model"},
        socket=f"{place}/run/lfm.sock",
        log=f"{place}/logs/daemon.log",
    )


# Property lists


@pytest.mark.parametrize("name", NAMES)
def test_a_property_list_is_what_launchd_wants(name: str):
    entries = plistlib.loads(to_plist(odd(name)))
    jsonschema.validate(entries, SCHEMA)
    assert entries["Label"] == LABEL == Launchd().paths[0].stem
    assert entries["ProgramArguments"][:3] == [NAMES[name], "serve", "--detached"]
    assert entries["KeepAlive"] == {"Crashed": True}
    assert entries["RunAtLoad"] is False
    assert entries["ProcessType"] == "Interactive"
    (listener,) = entries["Sockets"].values()
    assert listener["SockPathMode"] == 384 == 0o600
    assert entries["Umask"] == 0o077
    assert len(listener["SockPathName"].encode()) < 104


@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_is_read_back(name: str):
    wanted = odd(name)
    assert from_plist(to_plist(wanted)) == wanted
    assert from_units(*to_units(wanted)) == wanted
    assert wanted.keep_alive == name


def test_what_is_not_needed_is_not_there():
    bare = agent(options=())
    assert "EnvironmentVariables" not in plistlib.loads(to_plist(bare))
    assert b"Environment" not in to_units(bare)[1]
    assert bare.keep_alive is None
    assert from_plist(to_plist(bare)) == from_units(*to_units(bare)) == bare


BROKEN: dict[str, dict[str, Any]] = {
    "relative": {"StandardErrorPath": "logs/daemon.log"},
    "home": {"StandardOutPath": "~/daemon.log"},
    "above": {"StandardOutPath": "/a/../b"},
    "program": {"ProgramArguments": ["lfm", "serve"]},
    "number": {"ProgramArguments": ["/bin/lfm", 1]},
    "unknown": {"KeepAlve": True},
    "process": {"ProcessType": "interactive"},
    "keep": {"KeepAlive": {"crashed": True}},
    "variable": {"EnvironmentVariables": {"LFM_MODEL": 1}},
    "mode": {"Sockets": {"Listener": {"SockPathName": "/s", "SockPathMode": "0600"}}},
    "family": {"Sockets": {"Listener": {"SockPathName": "/s", "SockFamily": "IPv4"}}},
    "session": {"LimitLoadToSessionType": "aqua"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_schema_refuses_what_launchd_would(case: str):
    entries = plistlib.loads(to_plist(agent()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(entries | BROKEN[case], SCHEMA)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"<plist/>", plistlib.dumps({"Label": LABEL}), plistlib.dumps([1])]
)
def test_a_file_that_is_none_of_ours_is_no_agent(data: bytes):
    assert from_plist(data) is None
    assert from_units(data, data) is None
    other = agent().command[1:]
    entries = plistlib.loads(to_plist(agent())) | {"ProgramArguments": list(other[1:])}
    assert from_plist(plistlib.dumps(entries)) is None


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_no_fault_in_the_units(name: str, tmp_path: Path):
    """Its own reader, which also looks for the program."""
    program = tmp_path / NAMES[name][1:]
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    units = to_units(replace(odd(name), program=(str(program),)))
    paths = [tmp_path / "lfm.socket", tmp_path / "lfm.service"]
    for path, content in zip(paths, units, strict=True):
        path.write_bytes(content)
    command = ["systemd-analyze", "--user", "verify", *map(str, paths)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_that_systemd_does_not_start_is_started_by_a_shell():
    command = to_units(agent("/o'neill/lfm"))[1].decode().splitlines()[6]
    start = 'ExecStart="/bin/sh" "-c" "exec \\"$$@\\"" "lfm" "/o\'neill/lfm" "serve"'
    assert command.startswith(start), command


# Which agent


def test_it_knows_where_this_user_s_things_are(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    monkeypatch.chdir(home)
    monkeypatch.setenv("LFM_HOME", "there")
    found = wished(PROGRAM, "1h", "nano")
    there = {"LFM_HOME": str(home / "there"), "XDG_DATA_HOME": "/elsewhere", "LFM_MODEL": "nano"}
    assert found.environment == there
    assert found.command == (*PROGRAM, "serve", "--detached", "--keep-alive=1h")
    assert (found.socket, found.log) == (str(socket_path()), str(log_path()))
    assert wished(PROGRAM).command == (*PROGRAM, "serve", "--detached")


def test_nothing_else_of_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LFM_TOKEN", "secret")
    monkeypatch.setenv("SOME_PASSWORD", "secret")
    assert b"secret" not in to_plist(wished(PROGRAM))


def test_a_home_whose_socket_would_not_last_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Its socket is in /tmp, where nothing is after a restart."""
    monkeypatch.setenv("LFM_HOME", "/" + "long" * 30)
    with pytest.raises(DaemonError, match=r"too long a path.*set LFM_HOME to a shorter one"):
        wished(PROGRAM)


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\udcff"])
def test_a_name_that_no_file_can_hold_is_refused(name: str):
    with pytest.raises(DaemonError, match="cannot stand in the file of an agent"):
        wished((f"/bin/{name}/lfm",))


def test_another_home_s_agent_is_not_this_one_s(
    system: FakeSystem,
    monkeypatch: pytest.MonkeyPatch,
):
    install(wished(PROGRAM))
    assert installed() == wished(PROGRAM)
    monkeypatch.setenv("LFM_HOME", str(system.home / "other"))
    assert installed() is None


# In place, and away


def test_it_is_put_in_place_and_taken_away(system: FakeSystem):
    assert installed() is None and uninstall() is False
    wanted = wished(PROGRAM, "30m", "nano")
    system.verbs  # noqa: B018 - from here on
    assert install(wanted) is True
    assert ODD in wanted.socket and set(system.files) == set(system.manager.paths)
    assert (
        system.verbs
        == {
            "launchd": ["print", "enable", "bootstrap"],
            "systemd": ["is-active", "daemon-reload", "reset-failed", "enable"],
        }[system.manager.name]
    )
    assert installed() == wanted and listening()
    assert stat.S_IMODE(run_folder().stat().st_mode) == 0o700
    assert stat.S_IMODE(log_path().parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(log_path().stat().st_mode) == 0o600
    for path in system.manager.paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert uninstall() is True
    assert system.files == {} and installed() is None
    assert not listening() and not socket_path().exists()
    assert uninstall() is False


def test_launchctl_is_asked_for_this_user_and_this_file(system: FakeSystem):
    install(wished(PROGRAM))
    calls = system.calls
    domain, path = f"gui/{os.getuid()}", str(system.manager.paths[0])
    if system.manager.name == "launchd":
        assert calls[1:] == [
            ["launchctl", "enable", f"{domain}/{LABEL}"],
            ["launchctl", "bootstrap", domain, path],
        ]
        assert path == f"{system.home}/Library/LaunchAgents/{LABEL}.plist"
    else:
        assert calls[-1] == ["systemctl", "--user", "enable", "--now", "lfm.socket"]
        assert path == f"{system.home}/.config/systemd/user/lfm.socket"


def test_installing_twice_changes_nothing(system: FakeSystem):
    install(wished(PROGRAM))
    launch.ensure([], {})
    first, before = running(), system.files
    system.calls  # noqa: B018
    assert install(wished(PROGRAM)) is False
    assert len(system.calls) == 1  # it looked
    assert running() == first and system.files == before


def test_it_is_put_in_place_again_where_it_was_unloaded(system: FakeSystem):
    install(wished(PROGRAM))
    system.manager.unload()
    assert not listening()
    assert install(wished(PROGRAM)) is True
    assert listening()


def test_another_one_takes_its_place(system: FakeSystem):
    """As after an upgrade to a version that is elsewhere, or with another wish."""
    old = ("/usr/bin/env", "python3")
    install(wished(old, "1h"))
    wanted = wished(PROGRAM, "2h")
    assert install(wanted) is True
    assert installed() == wanted
    launch.ensure([], {})
    assert Daemon(*nano()).hear(RECORDING).text == "alarm set for five thirty"
    first = running()
    assert install(wished(PROGRAM, "3h")) is True
    assert running() is None and listening()
    launch.ensure([], {})
    assert running() != first


def nano() -> tuple[Path, str]:
    from lfm2audio_mlx.installed import EMBEDDED, NANO

    return EMBEDDED, NANO


def test_a_daemon_that_lfm_started_makes_way(system: FakeSystem):
    launch.start([*PROGRAM, "serve", "--detached"], os.environ)
    first = running()
    assert first
    install(wished(PROGRAM))
    assert running() is None
    launch.ensure([], {})
    assert running() not in (None, first)


def test_a_socket_that_a_killed_one_left_is_no_hindrance(system: FakeSystem):
    private(run_folder())
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(socket_path()))
    assert socket_path().is_socket()
    install(wished(PROGRAM))
    assert listening()
    uninstall()
    assert not socket_path().exists()


VERBS = [
    ("launchd", "bootstrap"),
    ("launchd", "enable"),
    ("systemd", "enable"),
    ("systemd", "daemon-reload"),
]


@pytest.mark.parametrize(("system", "verb"), VERBS, indirect=["system"])
def test_what_fails_leaves_nothing_behind(system: FakeSystem, verb: str):
    system.fails(verb, 5, "Bootstrap failed: 5: Input/output error\nTry re-running")
    message = rf"{verb}.*Bootstrap failed: 5: Input/output error Try re-running$"
    with pytest.raises(DaemonError, match=message) as told:
        install(wished(PROGRAM))
    assert "\n" not in str(told.value)
    assert system.files == {}
    assert not listening()
    system.works()
    assert install(wished(PROGRAM)) is True


def test_what_fails_leaves_the_earlier_one_in_place(system: FakeSystem):
    install(wished(PROGRAM, "1h"))
    before = system.files
    verb = {"launchd": "bootstrap", "systemd": "enable"}[system.manager.name]
    system.fails(verb, 1, "no", times=managers.TRIES if verb == "bootstrap" else 1)
    with pytest.raises(DaemonError, match=r"no$"):
        install(wished(PROGRAM, "2h"))
    assert system.files == before
    assert listening()
    launch.ensure([], {})
    assert running()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_an_interrupt_leaves_the_earlier_one_in_place(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch, verb: str, interrupt: BaseException
):
    """ctrl-C and SIGTERM, when the verb has just been done."""
    install(wished(PROGRAM, "1h"))
    before, done = system.files, getattr(system.manager, verb)

    def cut_off() -> None:
        done()
        monkeypatch.setattr(system.manager, verb, done)
        raise interrupt

    monkeypatch.setattr(system.manager, verb, cut_off)
    with pytest.raises(type(interrupt)):
        install(wished(PROGRAM, "2h"))
    assert system.files == before
    assert system.manager.loaded()


@pytest.mark.parametrize("system", ["launchd"], indirect=True)
def test_a_moment_in_which_launchd_refuses_is_waited_for(system: FakeSystem):
    system.fails("bootstrap", 5, "Bootstrap failed: 5: Input/output error", times=2)
    assert install(wished(PROGRAM)) is True
    assert system.verbs == ["print", "enable", *["bootstrap"] * 3]


def test_one_that_does_not_go_is_told_and_stays(
    system: FakeSystem,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(managers, "GONE_SECONDS", 0.2)
    install(wished(PROGRAM))
    before = system.files
    verb = {"launchd": "bootout", "systemd": "disable"}[system.manager.name]
    system.fails(verb, 1, "Operation not permitted")
    for act in (uninstall, lambda: install(wished(PROGRAM, "9h"))):
        with pytest.raises(DaemonError, match=f"{verb}.*not permitted"):
            act()
        assert system.files == before


def test_a_folder_that_cannot_be_written_is_told(system: FakeSystem):
    folder = system.manager.paths[0].parent
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(DaemonError, match=r"cannot be (written|read)"):
        install(wished(PROGRAM))
    assert not listening()
    folder.unlink()


def test_without_their_programs_it_says_so(
    system: FakeSystem,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path))
    for act in (uninstall, lambda: install(wished(PROGRAM))):
        with pytest.raises(DaemonError, match=r"(launchctl|systemctl): cannot be run \(No such"):
            act()
    assert system.files == {}
    monkeypatch.setenv("PATH", before)


def test_each_system_has_its_own(monkeypatch: pytest.MonkeyPatch):
    for platform, kind in (("darwin", Launchd), ("linux", Systemd)):
        monkeypatch.setattr(sys, "platform", platform)
        assert type(manager()) is kind
    monkeypatch.setattr(sys, "platform", "freebsd14")
    with pytest.raises(DaemonError, match="neither launchd nor systemd"):
        manager()
    assert installed() is None
