"""The folder of a run: it may hold one already, and it belongs to one process.

The lock ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from halftrack.errors import MissingFileError, UserError

__all__ = [
    "asking_option",
    "holds_asked_run",
    "holds_run",
    "is_in_use",
    "keep_folder",
    "own_folder",
    "try_to_own",
]

_LOCK = "run.lock"
# Descriptors of the locks held, by folder; a forked worker closes its copies, else it would hold
# on to the lock of a run that was killed.
_held: dict[Path, int] = {}


def holds_run(folder: Path) -> bool:
    """True of a folder in which a run has left weights, whole or torn."""
    return (folder / "best.pth").exists() or any(folder.glob("step_*.pth"))


def asking_option(resume: str, *, data_changed: bool) -> str | None:
    """The option of a command that asks for a run to go on with; None if one may begin."""
    return "--data-changed" if data_changed else "--resume must" if resume == "must" else None


def holds_asked_run(folder: Path, asked: str | None) -> bool:
    """As ``holds_run``; refuses a folder without a run where an option asks for one.

    Args:
        folder: the folder.
        asked: the option; None if a run may begin.

    Raises:
        MissingFileError: if a run is asked for and there is none.
    """
    if holds_run(folder):
        return True
    if asked is not None:
        raise MissingFileError(
            f"nothing to resume: no step_*.pth in {folder}; to begin a run there leave out {asked}"
        )
    return False


def is_in_use(folder: Path) -> bool:
    """True while a process trains in a folder.

    A process on another machine is believed until it removes its lock, as at the end of a run.
    """
    try:
        holder, _, start = (folder / _LOCK).read_text(errors="replace").partition("\n")
    except OSError:
        return False
    words = holder.split()
    if words[:1] + words[2:] != ["process", "on", socket.gethostname()]:
        return True
    try:  # taking the lock, even for a moment, could stop a run that begins
        os.kill(int(words[1]), 0)
    except PermissionError:
        pass  # another user's
    except (ProcessLookupError, ValueError):
        return False
    # The number of a process that has ended is given to another one after some time.
    started = _start_of(int(words[1]))
    return "" in (start, started) or start == started


def _start_of(process: int) -> str:
    """Clock ticks from the start of the machine to that of a process; empty where none can tell."""
    try:
        told = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # The second field, the program's name in brackets, may hold any character; this is the 22nd.
    return told.rpartition(")")[2].split()[19]


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Make sure, until the block ends, that no other process trains in ``folder``.

    The folder is created, and removed again if nothing was put into it.

    Raises:
        ValueError: if another process trains there; names it.
        OSError: if the folder cannot be created or written to.
    """
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"{folder} is a link to nowhere: choose a folder for the run")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder for the run")
    created = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.absolute() / _LOCK
    _held[lock] = _locked(lock)
    try:
        yield
    finally:
        with suppress(OSError):  # a folder that is read-only by now
            if _is_held(lock):
                lock.unlink()
        os.close(_held.pop(lock))
        with suppress(OSError):  # where something was written into it
            for each in created:
                each.rmdir()


def try_to_own(folder: Path, *, until: ExitStack) -> OSError | None:
    """Own a folder until a stack is left; where a run lies and nothing can be written, say why not.

    Raises:
        ValueError: if another process trains there; names it.
        OSError: if the folder holds no run and cannot be created or written to.
    """
    try:
        until.enter_context(own_folder(folder))
    except OSError as error:
        if not holds_run(folder):
            raise
        return error
    return None


def keep_folder(folder: Path) -> None:
    """Take the lock of an owned folder again where its file has gone, as with the whole folder.

    A folder that this process does not own is left alone.

    Raises:
        ValueError: if another process trains there by now; names it.
        OSError: if the folder is away or cannot be written to.
    """
    lock = folder.absolute() / _LOCK
    if lock in _held and not _is_held(lock):
        descriptor = _locked(lock)
        os.close(_held[lock])
        _held[lock] = descriptor


def _is_held(lock: Path) -> bool:
    """False of a file that is gone or has another process's in its place."""
    return _is_open(lock, _held[lock])


def _is_open(lock: Path, descriptor: int) -> bool:
    """Whether the file of that name is the one behind a descriptor."""
    return lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat())


def _locked(lock: Path) -> int:
    """The descriptor of a lock file that this process now holds."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = os.read(descriptor, 200).decode(errors="replace")
            holder = told.partition("\n")[0] or "another process"
            os.close(descriptor)
            raise UserError(
                f"{lock.parent} is in use by {holder}: wait for its end, or choose another folder"
            ) from None
        except OSError:
            # Some network file systems know no locks; a run there is as safe as it was without.
            return descriptor
        # The former holder may have removed the file while this one waited to open it.
        if _is_open(lock, descriptor):
            os.ftruncate(descriptor, 0)
            own, host = os.getpid(), socket.gethostname()
            os.write(descriptor, f"process {own} on {host}\n{_start_of(own)}".encode())
            return descriptor
        os.close(descriptor)


def _forget_in_child() -> None:
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
