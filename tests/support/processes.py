"""What the kernel says of other processes."""

from pathlib import Path


def children(pid: int) -> set[int]:
    """The processes that a process has started, and that have not ended."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text("utf-8").split()}


def peak_megabytes(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) // 1024
