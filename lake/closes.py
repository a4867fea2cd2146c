"""What is used from `with` to its end."""

from __future__ import annotations

from typing import Self


class Closes:
    """Ends with `close()` where its `with` does."""

    def close(self) -> None:
        """End it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
