"""Where the spools lie, and how much room they may take."""

from __future__ import annotations

import os
from pathlib import Path

ROOT_VARIABLE = "MLFLOW_DLVIZ_SPOOL"
LIMIT_VARIABLE = "MLFLOW_DLVIZ_SPOOL_MB"

LIMIT_MB = 4096
"""What all spools together may take on disk; ``MLFLOW_DLVIZ_SPOOL_MB`` sets another limit."""


def default_root() -> Path:
    """The folder of all spools: ``MLFLOW_DLVIZ_SPOOL``, or ``~/.mlflow-dlviz/spool``."""
    given = os.environ.get(ROOT_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".mlflow-dlviz" / "spool"


def limit_bytes() -> int:
    """The limit in bytes. Raises ValueError for a setting that is no number."""
    given = os.environ.get(LIMIT_VARIABLE) or str(LIMIT_MB)
    try:
        limit = int(float(given) * 2**20)
    except (ValueError, OverflowError):
        limit = -1
    if limit < 0:
        raise ValueError(f"{LIMIT_VARIABLE}={given!r}: expected a number of megabytes")
    return limit


def own_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and those above it that are missing."""
    for parent in [*reversed(folder.parents), folder]:
        # Asked for parents, `mkdir` gives these the mode that the umask leaves.
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)


class Used:
    """How much the spools of a root take on disk; looked at again every so many megabytes."""

    _AGAIN = 64 * 2**20

    def __init__(self) -> None:
        self._left: dict[Path, int] = {}

    def take(self, root: Path, size: int) -> None:
        """Count ``size`` bytes. Raises ValueError once the limit is reached."""
        left = self._left.get(root, 0) - size
        if left < 0:
            left = min(limit_bytes() - used_bytes(root), self._AGAIN) - size
        if left < 0:
            self._left.pop(root, None)
            raise ValueError(
                f"the spool {root} has reached its limit of {limit_bytes() >> 20} MB ({LIMIT_VARIABLE}); "
                "`mlflow-dlviz sync` sends what it holds, `mlflow-dlviz sync --prune` clears what can't be sent"
            )
        self._left[root] = left


def used_bytes(root: Path) -> int:
    """What all spools below ``root`` take on disk, in bytes."""
    total = 0
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # sent in the meantime
    return total
