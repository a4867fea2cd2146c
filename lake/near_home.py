"""Where a home is that nobody names: here, or above, as a notebook has a folder of its own."""

from __future__ import annotations

from pathlib import Path

HOME = Path(".ticklake")


def near(folder: Path) -> Path:
    """Return the home of a folder, else of the nearest one above; the folder's, where none has."""
    if (folder / HOME).is_dir():
        return HOME
    return next((each / HOME for each in folder.parents if (each / HOME).is_dir()), HOME)
