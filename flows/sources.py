"""What was named on the command line -> video files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from extraction.records import SourceError

VIDEO_SUFFIXES: Final = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv", ".ts")


def find_videos(source: str) -> list[Path]:
    """The video that ``source`` names, or every video below the folder that it names, sorted.

    A file is taken whatever its suffix; whether it can be decoded shows when it is opened.
    """
    if "://" in source:
        raise SourceError(
            f"expected a file or a folder, found the address {source}; "
            "download the video first; `padtrace scan` tells whether that is worth while"
        )
    path = Path(source)
    if not path.exists():
        raise SourceError(f"expected a video file or a folder at {source}, found nothing; check the path")
    if not path.is_dir():
        return [path]
    videos = sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file())
    if not videos:
        raise SourceError(
            f"expected videos ({', '.join(VIDEO_SUFFIXES)}) below {source}, found none; name the files themselves"
        )
    return videos
