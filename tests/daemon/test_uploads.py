"""What clients send, as it comes, and the files in which it is laid aside."""

import asyncio
import io
import resource
import secrets
import signal
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm_daemon.faults import Fault
from lfm_daemon.paths import spool_folder
from lfm_daemon.uploads import Body, Spool, cleared, spooled


@pytest.fixture(autouse=True)
def folder(home: Path) -> Path:
    cleared()
    return spool_folder()


async def stream(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def copied(body: Body, count: int) -> bytes:
    file = io.BytesIO()
    await body.copy(count, file)
    return file.getvalue()


async def taken(body: Body, count: int) -> bytes:
    return await body.exactly(count)


@given(st.lists(st.binary(max_size=8), max_size=8), st.lists(st.integers(0, 12), max_size=6))
@settings(max_examples=200)
def test_a_body_is_read_in_pieces_of_any_length(pieces: list[bytes], counts: list[int]):
    """However it comes; too much is asked for only when too little is left."""
    whole = b"".join(pieces)

    async def go() -> None:
        body, at = Body(stream(pieces)), 0
        for number, count in enumerate(counts):
            read = (taken, copied)[number % 2]
            if at + count > len(whole):
                with pytest.raises(asyncio.IncompleteReadError) as error:
                    await read(body, count)
                assert read is copied or error.value.partial == whole[at:]
                return
            assert await read(body, count) == whole[at : at + count]
            at += count

    asyncio.run(go())


def test_a_body_is_not_read_further_than_it_must_be():
    async def go() -> None:
        pieces = [b"abc", b"def"]

        async def counted() -> AsyncIterator[bytes]:
            while pieces:
                yield pieces.pop(0)

        assert await Body(counted()).exactly(3) == b"abc" and pieces == [b"def"]

    asyncio.run(go())


def test_files_are_one_user_s_and_gone_afterwards(folder: Path):
    with spooled() as spool:
        first, second = Path(spool.keep(b"first")), Path(spool.keep(b"second"))
        assert (first.read_bytes(), second.read_bytes()) == (b"first", b"second")
        assert {path.parent for path in (first, second)} == {folder}
        assert {stat.S_IMODE(path.stat().st_mode) for path in (first, second)} == {0o600}
    assert list(folder.iterdir()) == []


def test_files_are_gone_also_when_something_fails(folder: Path):
    with pytest.raises(ZeroDivisionError), spooled() as spool:
        spool.keep(b"first")
        with spool.new() as (file, _):
            file.write(b"second")
            raise ZeroDivisionError
    assert list(folder.iterdir()) == []


def test_a_file_that_somebody_else_removed_is_no_fault(folder: Path):
    with spooled() as spool:
        Path(spool.keep(b"first")).unlink()
        spool.keep(b"second")
    assert list(folder.iterdir()) == []


def test_what_is_written_is_there_when_its_file_is_closed(folder: Path):
    with spooled() as spool:
        with spool.new() as (file, path):
            file.write(b"abc")
        assert Path(path).read_bytes() == b"abc"


def test_an_open_file_is_copied(folder: Path):
    with spooled() as spool:
        path = asyncio.run(spool.take(io.BytesIO(b"abc" * 100_000)))
        assert Path(path).read_bytes() == b"abc" * 100_000


ROOM = 100_000


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files may have so many bytes and no more; a write beyond is an OSError, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def copy(spool: Spool, data: bytes) -> None:
    async def go() -> None:
        with spool.new() as (file, _):
            await Body(stream([data])).copy(len(data), file)

    asyncio.run(go())


WAYS: dict[str, Callable[[Spool, bytes], object]] = {
    "keep": lambda spool, data: spool.keep(data),
    "take": lambda spool, data: asyncio.run(spool.take(io.BytesIO(data))),
    "copy": copy,
}


@pytest.mark.parametrize("size", [ROOM + 1, 3 * ROOM])
@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_is_told_and_nothing_stays(folder: Path, full_disk: None, way: str, size: int):
    """Also when it shows only as the last bytes are written, at the closing of the file."""
    with spooled() as spool:
        WAYS[way](spool, b"x" * ROOM)
        with pytest.raises(
            Fault, match=r"^the recording cannot be laid aside in .*spool: "
        ) as full:
            WAYS[way](spool, b"x" * size)
        assert (full.value.status, full.value.code) == (507, "no_space")
    assert list(folder.iterdir()) == []


def test_no_file_is_written_to_that_is_there_already(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secrets, "token_hex", lambda count: "a" * count)
    (folder / ("a" * 16)).symlink_to(folder / "elsewhere")
    with pytest.raises(Fault), spooled() as spool:
        spool.keep(b"abc")
    assert not (folder / "elsewhere").exists()


def test_a_folder_that_is_gone_is_told(folder: Path):
    folder.rmdir()
    with pytest.raises(Fault) as gone, spooled() as spool:
        spool.keep(b"")
    assert gone.value.status == 507


def test_leftovers_are_cleared_away(folder: Path):
    """Of a daemon that was killed."""
    (folder / "a").write_bytes(b"a")
    (folder / "b").symlink_to("/etc/hosts")
    folder.chmod(0o755)
    cleared()
    assert list(folder.iterdir()) == [] and Path("/etc/hosts").exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
