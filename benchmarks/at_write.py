"""Run something in a process of its own, and end it with SIGKILL as it enters the n-th system call that writes.

What a process dies at is counted, not timed: every state that its writing can leave behind comes up by a number. Linux,
by ptrace (PTRACE_GET_SYSCALL_INFO, Linux 5.3), on x86-64 and 64-bit ARM. Threads are followed, other processes are not.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRACEME, SYSCALL, SETOPTIONS, SYSCALL_INFO = 0, 24, 0x4200, 0x420E
OPTIONS = 0x1 | 0x8 | 0x100000
"""TRACESYSGOOD, TRACECLONE, EXITKILL."""
ALL = 0x40000000
"""__WALL: threads too."""
O_CREAT = 0o100
TO_FILE = {  # write, pwrite64, writev, pwritev, ftruncate, fsync, fdatasync, fallocate, copy_file_range, sendfile
    "x86_64": {1, 18, 20, 296, 77, 74, 75, 285, 326, 40},
    "aarch64": {64, 68, 66, 70, 46, 82, 83, 47, 285, 71},
}
TO_FOLDER = {  # rename*, unlink*, rmdir, mkdir*, link*, truncate
    "x86_64": {82, 264, 316, 87, 263, 84, 83, 258, 86, 265, 76},
    "aarch64": {38, 276, 35, 34, 37, 45},
}
OPENAT = {"x86_64": 257, "aarch64": 56}
MACHINE = platform.machine()


def available() -> bool:
    """Whether processes can be ended that way here."""
    return sys.platform == "linux" and MACHINE in TO_FILE


def run(work: Callable[[], object], folder: Path, kill_at: int | None = None) -> tuple[int, bool]:
    """How many calls of `work` wrote below `folder`, and whether it came to its end rather than to its `kill_at`-th.

    Raises RuntimeError where it failed by itself.
    """
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if not (child := os.fork()):
        ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        _end(work)
    os.waitpid(child, 0)
    if ptrace(SETOPTIONS, child, None, OPTIONS):
        raise RuntimeError(f"this process may not trace its own: {os.strerror(ctypes.get_errno())}")
    ptrace(SYSCALL, child, None, None)
    count, info = 0, ctypes.create_string_buffer(88)
    while True:
        pid, status = os.waitpid(-1, ALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if pid != child:
                continue
            if (os.WIFSIGNALED(status) and count != kill_at) or (os.WIFEXITED(status) and os.WEXITSTATUS(status)):
                raise RuntimeError(f"it ended by itself with status {status}")
            return count, os.WIFEXITED(status)
        stop, passed = os.WSTOPSIG(status), 0
        if stop == signal.SIGTRAP | 0x80:
            ptrace(SYSCALL_INFO, pid, 88, info)
            if count != kill_at and _writes(pid, info.raw, str(folder)):
                count += 1
                if count == kill_at:
                    os.kill(child, signal.SIGKILL)
        elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
            passed = stop
        ptrace(SYSCALL, pid, None, passed)


def apart(work: Callable[[], Any]) -> Any:
    """What `work` gives (plain data), computed in a process of its own. Raises RuntimeError with its traceback."""
    into, out = os.pipe()
    if not (child := os.fork()):
        os.close(into)
        with open(out, "w") as pipe:
            try:
                json.dump({"value": work()}, pipe)
            except BaseException:
                json.dump({"error": traceback.format_exc()}, pipe)
        os._exit(0)
    os.close(out)
    with open(into) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    found = json.loads(said or '{"error": "it died"}')
    if "error" in found:
        raise RuntimeError(found["error"])
    return found["value"]


def _end(work: Callable[[], object]) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


def _writes(pid: int, info: bytes, folder: str) -> bool:
    """Whether a thread is about to change something: as `struct ptrace_syscall_info` says."""
    if info[0] != 1:  # It comes back from a call.
        return False
    call, first, _, third = struct.unpack_from("<4Q", info, 24)
    if call in TO_FOLDER[MACHINE]:
        return True
    if call == OPENAT[MACHINE]:
        return bool(third & O_CREAT)
    if call not in TO_FILE[MACHINE]:
        return False
    try:
        return os.readlink(f"/proc/{pid}/fd/{first}").startswith(folder)
    except OSError:
        return False
