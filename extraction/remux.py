"""A video from the network -> a small one of a few of its keyframes; nothing is decoded.

What comes from there is not trusted: it may open no other address, and must not be larger than a picture may be.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
from av.error import FFmpegError

from extraction.records import SourceError
from extraction.video import duration_of, first_video_stream, thin_out

# No playlist in a video's clothes, which would make the demuxer open other addresses, and no reading ahead to guess a
# frame rate.
UNTRUSTED: Final = {
    "protocol_whitelist": "none",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,flv,avi,mpegts",
    "fpsprobesize": "0",
}

MAX_PIXELS: Final = 4096 * 2304  # of a picture
READ_AHEAD: Final = 8 * 1024  # bytes: the header of a fragment, when one looks for the next


def copy_keyframes(source: io.IOBase, name: str, target: Path, count: int = 25, *, in_passing: bool = False) -> None:
    """Copy at most ``count`` keyframes, spread over a video, into a small video at ``target``; nothing is decoded.

    Only what they need of ``source`` is read; ``in_passing`` reads it from its start to its end instead, as far as it
    goes. A video that has fewer than a third of them is copied whole. ``name``: what errors call it. SourceError where
    there is no video; what ``source`` raises passes.
    """
    try:
        with av.open(source, mode="r", options=UNTRUSTED, buffer_size=READ_AHEAD) as container:
            stream = first_video_stream(container, name)
            size = (stream.codec_context.width, stream.codec_context.height)
            if math.prod(size) > MAX_PIXELS:
                raise SourceError(f"expected pictures of at most {MAX_PIXELS} px in {name}, found {size[0]}x{size[1]}")
            if in_passing:
                packets = thin_out(_keyframes_ahead(container, stream), count, lambda packet: packet)
            else:
                packets = _keyframes_by_seeking(container, stream, count)
            if whole := len(packets) < count // 3:
                container.seek(stream.start_time or 0, stream=stream)
                packets = list(_packets_ahead(container, stream))
            if not packets:
                raise SourceError(f"expected frames in {name}, found none; play it to see")
            with av.open(str(target), "w", format="matroska") as output:
                copy = output.add_stream_from_template(stream)
                for packet in packets:
                    packet.stream = copy
                    if not whole:
                        packet.dts = packet.pts
                    output.mux(packet)
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(
            f"expected a video at {name}, found data that cannot be read ({reason}); play it to see"
        ) from error


def _packets_ahead(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream]]:
    """The packets from here on, as far as the data goes."""
    with contextlib.suppress(FFmpegError):
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                yield packet


def _keyframes_ahead(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream]]:
    """The keyframes among them."""
    return (packet for packet in _packets_ahead(container, stream) if packet.is_keyframe)


def _keyframes_by_seeking(
    container: av.container.InputContainer, stream: av.VideoStream, count: int
) -> list[av.Packet[av.VideoStream]]:
    """For each of ``count`` times spread over the video the keyframe before it, where it is a new one."""
    duration_s = duration_of(container, stream)
    if duration_s is None or stream.time_base is None:
        return thin_out(_keyframes_ahead(container, stream), count, lambda packet: packet)
    kept: list[av.Packet[av.VideoStream]] = []
    last = -math.inf
    for i in range(count):
        with contextlib.suppress(FFmpegError):  # it cannot be sought, or ends early: go on from here
            target = (stream.start_time or 0) + int(duration_s * (i + 0.5) / count / stream.time_base)
            container.seek(target, stream=stream)
        packet = next(_keyframes_ahead(container, stream), None)
        if packet is not None and packet.pts is not None and packet.pts > last:
            kept.append(packet)
            last = packet.pts
    return kept
