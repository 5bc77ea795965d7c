"""Uploaded tables, kept for as long as a run may need them."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path

#: How long a table that no run uses is kept, in seconds: someone may be checking it just now.
KEEP_SECONDS = 3600.0


class Uploads:
    """Copies of uploaded tables. Gradio's own go with the visitor's session; a run can last longer.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, file: Path, columns: Mapping[str, str]) -> Path:
        """Copy a table. Each table and choice of columns has a folder, so that none changes what a run reads.

        Args:
            file: The upload.
            columns: Task to column, as the visitor chose them.

        Returns:
            The copy.
        """
        key = hashlib.sha256(file.read_bytes() + repr(sorted(columns.items())).encode()).hexdigest()[:16]
        table = self.folder / key / file.name
        table.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, table)
        return table

    def forget(self, needed: Collection[str]) -> None:
        """Remove old tables.

        Args:
            needed: Paths of tables that stay.
        """
        kept = {Path(path).parent for path in needed}
        for folder in self.folder.glob("*"):
            if folder not in kept and time.time() - folder.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
