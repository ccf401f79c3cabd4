"""The first moments of every child: take its identity, tie its life to its supervisor's, become the program.

A script of its own because the steps must happen between fork and exec, in this order, and running Python
code in a forked copy of a process with threads can deadlock. It is run as ``python -I -S child.py PARENT
SIGNAL IDENTITY DIRECTORY PROGRAM ARGUMENTS...`` and imports nothing outside the standard library.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
CLONE_NEWUSER = 0x10000000  # <linux/sched.h>
CANNOT_START = 126


def take_identity(libc: ctypes.CDLL, identity: str) -> None:
    """Become the user that ``same``, ``user:UID:GID`` or ``namespace:UID:GID`` stands for.

    In a namespace only the numbers that the program sees change: to the kernel it stays the same user, so its
    files stay where they are and keep their owner (user_namespaces(7)).
    """
    kind, *numbers = identity.split(":")
    if kind == "same":
        return
    uid, gid = map(int, numbers)
    if kind == "user":
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        return
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    # The kernel takes a gid_map from an ordinary user only after this.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def main(parent: str, death_signal: str, identity: str, directory: str, *argv: str) -> None:
    """Exec ``argv`` in ``directory``; it gets ``death_signal`` the moment the process ``parent`` dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    take_identity(libc, identity)
    # After the identity: a change of user id clears the setting.
    if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        return  # it died before the line above took effect
    os.umask(0o077)
    os.chdir(directory)
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as failure:
        sys.stderr.write(f"cannot start {sys.argv[5]}: {failure}\n")
        sys.exit(CANNOT_START)
