"""Conversations that a user asked to keep, in one SQLite file that only they can read.

Words and answers' tokens are kept as they are. What was said aloud is kept to the bit, so that a
conversation taken up again has the same tokens; an answer's sound, of which the codes are kept
too, is FLAC for listening. What is removed is overwritten, and the file shrinks.
"""

# pyright: reportMissingTypeStubs=false
# (soundfile has none.)

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.home import data_folder
from lfm2audio_mlx.results import Exchange
from lfm_cli.kept_sound import flac, packed, unflac, unpacked

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Kept",
    "Saved",
    "append",
    "check_name",
    "check_new",
    "conversations_path",
    "create",
    "find",
    "listed",
    "load",
    "reading",
    "remove",
]

LAYOUT = 1
"""Number of the layout below, as the file's `user_version`; another one for another layout."""

TABLES = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL, system TEXT NOT NULL, created TEXT NOT NULL, changed TEXT NOT NULL
);
CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    seconds REAL NOT NULL,  -- of sound, both sides
    text TEXT NOT NULL,
    answer TEXT NOT NULL,   -- JSON: of each word its token, of each frame of speech its codes
    rate INTEGER,           -- of the answer's sound, in Hz
    sound BLOB              -- FLAC, mono; no bytes for no samples
);
CREATE INDEX exchanges_of ON exchanges (conversation);
CREATE TABLE said (
    exchange INTEGER NOT NULL REFERENCES exchanges ON DELETE CASCADE,
    number INTEGER NOT NULL,
    words TEXT,             -- or sound:
    rate INTEGER,
    samples BLOB,           -- float32, little-endian; all lowest bytes, all next ones...; zlib
    PRIMARY KEY (exchange, number)
);
"""

PATIENCE = 10.0
"""Seconds to wait for another process that is writing."""

LONGEST = 240
"""Bytes of a name; with an ending and what marks an unfinished file it must fit 255."""

FAULTS = {
    sqlite3.SQLITE_BUSY: "another process holds it; try again when that is done",
    sqlite3.SQLITE_LOCKED: "another process holds it; try again when that is done",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_PERM: "cannot be opened",
    sqlite3.SQLITE_READONLY: "cannot be written",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
}


@dataclass(frozen=True)
class Saved:
    """A conversation at a glance.

    `created` and `changed` are ISO 8601 in UTC; `seconds` is the sound in it, of both sides.
    """

    name: str
    model: str
    system: str
    created: str
    changed: str
    exchanges: int
    seconds: float


@dataclass(frozen=True)
class Kept:
    """One exchange as it is kept.

    A part of what was said is a `str`, or float samples with their rate (mono float32 [n] when
    they come back). `text` is the answer's words, `sound` its mono samples [n] with their rate.
    """

    exchange: Exchange
    text: str
    sound: tuple[np.ndarray, int] | None


def conversations_path() -> Path:
    """Where conversations are; there may be none yet."""
    return data_folder() / "conversations.db"


def check_name(name: str) -> str:
    """The name itself, if it can be a conversation's: on export it becomes a file's.

    Raises:
        RequestError: it cannot.
    """
    fits = 1 <= len(name) <= 100 and name.isprintable() and len(name.encode()) <= LONGEST
    if not fits or "/" in name or name.startswith("."):
        raise RequestError(
            f"{name[:100]!r} cannot be a conversation's name: 1 to 100 printable characters "
            f"({LONGEST} bytes), no '/', the first of them no '.'"
        )
    return name


def listed() -> list[Saved]:
    """All conversations, the one that changed last before the others.

    Raises:
        RequestError: the file of conversations cannot be used.
    """
    with _database() as db:
        return [saved for _, saved in _conversations(db)]


def find(name: str) -> Saved:
    """A conversation at a glance.

    Raises:
        RequestError: there is none of that name, or the file cannot be used.
    """
    with _database() as db:
        return _found(db, name)[1]


def check_new(name: str) -> None:
    """Refuse what `create` would.

    Raises:
        RequestError: it cannot be a name, there is one of that name, or the file cannot be used.
    """
    with _database() as db:
        _refuse_known(db, check_name(name))


def create(name: str, model: str, system: str) -> None:
    """Begin to keep a conversation.

    Raises:
        RequestError: it cannot be a name, there is one of that name, or the file cannot be used.
    """
    check_name(name)
    _make(conversations_path())
    with _database() as db, _change(db):
        _refuse_known(db, name)
        now = _now()
        db.execute(
            "INSERT INTO conversations (name, model, system, created, changed) "
            "VALUES (?, ?, ?, ?, ?)",
            (name, model, system, now, now),
        )


def append(name: str, kept: Kept) -> None:
    """Keep one more exchange: all of it, or after an error or a crash nothing.

    Raises:
        RequestError: there is no such conversation, or the file cannot be used.
        AudioError: the sound is none that can be kept, or a part is neither words nor samples.
    """
    # Packed before the file is held, so that others need not wait for it.
    said = [packed(part) for part in kept.exchange.said]
    rate, sound, seconds = flac(kept.sound)
    answer = json.dumps(kept.exchange.answer, separators=(",", ":"))
    seconds += sum(each for *_, each in said)
    with _database() as db, _change(db):
        conversation, _ = _found(db, name)
        number = db.execute(
            "INSERT INTO exchanges (conversation, seconds, text, answer, rate, sound) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (conversation, seconds, kept.text, answer, rate, sound),
        ).lastrowid
        db.executemany(
            "INSERT INTO said (exchange, number, words, rate, samples) VALUES (?, ?, ?, ?, ?)",
            [(number, place, *part) for place, (*part, _) in enumerate(said)],
        )
        db.execute("UPDATE conversations SET changed = ? WHERE id = ?", (_now(), conversation))


def load(name: str) -> tuple[Saved, list[Kept]]:
    """A conversation, all of it in memory.

    Raises:
        RequestError: there is none of that name, or the file cannot be used.
    """
    with reading(name) as (saved, exchanges):
        return saved, list(exchanges)


@contextmanager
def reading(name: str) -> Generator[tuple[Saved, Iterator[Kept]]]:
    """A conversation whose exchanges are read one by one, as they were when it was opened.

    Raises (also while it is read):
        RequestError: there is none of that name, or the file cannot be used.
    """
    with _database() as db:
        conversation, saved = _found(db, name)
        query = "SELECT id FROM exchanges WHERE conversation = ? ORDER BY id"
        numbers = db.execute(query, (conversation,)).fetchall()
        yield saved, (_exchange(db, name, number) for (number,) in numbers)


def remove(name: str) -> None:
    """Delete a conversation, so that nothing of it is left in the file.

    Raises:
        RequestError: there is none of that name, or the file cannot be used.
    """
    with _database() as db, _change(db):
        conversation, _ = _found(db, name)
        db.execute("DELETE FROM conversations WHERE id = ?", (conversation,))


# The file


def _make(path: Path) -> None:
    """An empty file for its owner only; one that is there stays as it is.

    Raises:
        RequestError: it cannot be made.
    """
    try:
        for folder in reversed(path.parents):
            folder.mkdir(mode=0o700, exist_ok=True)
        # Not SQLite makes it, which would leave its mode to the umask.
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def _database() -> Generator[sqlite3.Connection]:
    """The file, open; where there is none, an empty one that is nowhere.

    Raises (also for what is done with it):
        RequestError: it is damaged, unreadable, held by another process, or of a newer `lfm`.
    """
    path = conversations_path()
    try:
        place = f"{path.as_uri()}?mode=rw" if path.exists() else ":memory:"
    except OSError as error:
        raise RequestError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        db = sqlite3.connect(place, timeout=PATIENCE, isolation_level=None, uri=True)
        with closing(db):
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA secure_delete = ON")
            _lay_out(db, path)
            yield db
    except sqlite3.Error as error:
        # The low byte is the kind of fault, the others say more than a user wants to know.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        fault = FAULTS.get(code, f"damaged, or no file of conversations: {error}")
        raise RequestError(f"{path}: {fault}") from error


def _lay_out(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file.

    Raises:
        RequestError: the file has another layout.
    """
    layout = _layout(db)
    if layout == 0:
        db.execute("PRAGMA auto_vacuum = FULL")  # only before there are tables
        with _change(db):
            layout = _layout(db)  # another process may have made them
            if layout == 0:
                if db.execute("SELECT 1 FROM sqlite_master").fetchall():
                    raise RequestError(f"{path}: is not a file of conversations; move it away")
                for statement in TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {LAYOUT}")
                return
    if layout != LAYOUT:
        raise RequestError(
            f"{path}: a newer `lfm` made it (layout {layout}, this one knows {LAYOUT}): update lfm"
        )


def _layout(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


@contextmanager
def _change(db: sqlite3.Connection) -> Generator[None]:
    """What is done in it is done as a whole or not at all.

    Raises (also for what is done in it):
        RequestError: a text has halves of characters, which no model takes either.
    """
    try:
        with db:
            # At once, as two that read before they write would wait for each other.
            db.execute("BEGIN IMMEDIATE")
            yield
    except UnicodeEncodeError as error:
        raise RequestError(f"text that is not Unicode cannot be kept: {error}") from error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Rows to values


def _conversations(db: sqlite3.Connection, name: str | None = None) -> list[tuple[int, Saved]]:
    """Conversations with their numbers in the file: all, or the one of a name."""
    rows = db.execute(
        "SELECT c.id, name, model, system, created, changed, count(e.id), total(e.seconds) "
        "FROM conversations AS c LEFT JOIN exchanges AS e ON e.conversation = c.id "
        "WHERE :name IS NULL OR name = :name GROUP BY c.id ORDER BY changed DESC, name",
        {"name": name},
    ).fetchall()
    return [(number, Saved(*values)) for number, *values in rows]


def _refuse_known(db: sqlite3.Connection, name: str) -> None:
    if _conversations(db, name):
        raise RequestError(f"a conversation '{name}' is kept already; --resume goes on with it")


def _found(db: sqlite3.Connection, name: str) -> tuple[int, Saved]:
    """
    Raises:
        RequestError: there is none of that name.
    """
    for found in _conversations(db, check_name(name)):
        return found
    raise RequestError(f"no conversation '{name}' is kept; `lfm chats` lists them")


def _exchange(db: sqlite3.Connection, name: str, number: int) -> Kept:
    """
    Raises:
        RequestError: it is damaged, or the conversation was removed in the meantime.
    """
    # Read to the end at once, one exchange at a time: who takes their time between them holds up
    # nobody who writes. Exchanges never change: if one is still there, its parts were too.
    query = "SELECT words, rate, samples FROM said WHERE exchange = ? ORDER BY number"
    said = db.execute(query, (number,)).fetchall()
    query = "SELECT answer, text, rate, sound FROM exchanges WHERE id = ?"
    rows = db.execute(query, (number,)).fetchall()
    if not rows:
        raise RequestError(f"conversation '{name}' was removed while it was read")
    ((answer, text, rate, sound),) = rows
    import soundfile

    try:
        exchange = Exchange(tuple(unpacked(*part) for part in said), _answer(answer))
        return Kept(exchange, text, unflac(rate, sound))
    except (ValueError, TypeError, zlib.error, soundfile.LibsndfileError) as error:
        raise sqlite3.DatabaseError(f"exchange {number}: {error}") from error


def _answer(text: str) -> tuple[int | tuple[int, ...], ...]:
    tokens: list[int | list[int]] = json.loads(text)
    return tuple(token if isinstance(token, int) else tuple(token) for token in tokens)
