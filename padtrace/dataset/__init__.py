"""What ``extract`` wrote -> what a trainer reads.

store       where a dataset lies: a folder or a bucket
records     types that cross stages, and what every file must be
pack        shards of single videos -> large files, and the index of their chunks
marks       spans of a video that a person marked as wrong
samples     which samples there are: a frame and the actions that follow it
groups      the row groups of a packed dataset, and how many samples each gives
loader      samples for PyTorch, by number or as a shuffled stream
nitrogen    export to the folder layout of the public NitroGen dataset
recording   import of a recorder's pictures and log
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from padtrace.dataset.loader import FrameActionDataset, FrameActionStream
    from padtrace.dataset.samples import PACKED_ORDER, SampleOptions

__all__ = ["PACKED_ORDER", "FrameActionDataset", "FrameActionStream", "SampleOptions"]


def __getattr__(name: str) -> object:
    """What a trainer imports; torch only then."""
    if name in __all__:
        from padtrace.dataset import loader, samples

        return getattr(loader if hasattr(loader, name) else samples, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
