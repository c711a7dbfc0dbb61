"""Disks that are small, or cannot be written, where tests may mount some; elsewhere what comes near, or a skip."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.requirements import require


@contextlib.contextmanager
def small_disk(*, mib: int) -> Iterator[Path]:
    """The folder of a disk of so many MiB. The test is skipped where nothing may be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="snowbus-disk-"))  # pytest's own are removed by whichever run comes next
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    try:
        require("mount", mounting.stderr.strip())
        yield folder
    finally:
        if not mounting.returncode:
            subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@contextlib.contextmanager
def read_only_copy(file: Path) -> Iterator[Path]:
    """A copy of a file that can only be read: by its permissions, or for root, who minds none, by its disk."""
    if os.geteuid():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copy(file, folder))
            copy.chmod(0o400)
            copy.parent.chmod(0o500)
            yield copy
            copy.parent.chmod(0o700)
        return
    with small_disk(mib=16) as disk:
        copy = Path(shutil.copy(file, disk))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield copy


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Fill a disk but for so many bytes; returns the file to remove to make room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while (room := shutil.disk_usage(disk).free - leave) > 0:
            file.write(b"\0" * min(room, 1_048_576))
    return filler
