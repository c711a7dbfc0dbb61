"""Tells whether a folder is on a file system that other machines share, as far as the system says so (on Linux)."""

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"nfs4?|cifs|smb\w*|afs|ceph|glusterfs|lustre|beegfs|gpfs|fuse\.(sshfs|glusterfs|s3fs|ceph\S*|rclone)"
)
_OCTAL = re.compile(r"\\(\d{3})")


def network_file_system(folder: Path) -> str:
    """The kind of a network file system that a folder is on, or an empty string."""
    try:
        kind = file_system_of(os.path.realpath(folder), _MOUNTS.read_text(errors="surrogateescape"))
    except OSError:  # no Linux
        return ""
    return kind if _NETWORK.fullmatch(kind) else ""


def file_system_of(folder: str, mounts: str) -> str:
    """The kind of file system that a folder is on, of those that `/proc/self/mountinfo` lists."""
    found = (0, "")
    for line in mounts.splitlines():
        fields, _, source = line.partition(" - ")
        point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4])
        if folder == point or folder.startswith(point.rstrip("/") + "/"):
            found = max(found, (len(point), source.split(" ")[0]), key=lambda each: each[0])  # of equals, the last
    return found[1]
