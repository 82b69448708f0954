"""A channel list is read strictly, and an error in it is one sentence that names the place."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from extraction.records import SourceError
from flows.channels import Channel, read_channels

WHOLE = """
[[channel]]
name = "Speedruns"
url = "https://www.youtube.com/@speedruns"
game = "Hollow Knight"
after = 2024-01-01
max_minutes = 240
families = ["xbox_one", "dualsense"]

[[channel]]
name = "Feed"
url = "https://example.org/feed.rss"
"""


def test_a_list_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(WHOLE)
    first, second = read_channels(path)
    assert (first.name, first.after, first.families) == ("Speedruns", date(2024, 1, 1), ("xbox_one", "dualsense"))
    assert second == Channel(name="Feed", url="https://example.org/feed.rss")


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("https://www.youtube.com/@a", "https://www.youtube.com/@a/videos"),
        ("https://www.youtube.com/channel/UCx/", "https://www.youtube.com/channel/UCx/videos"),
        ("https://www.youtube.com/@a/streams", "https://www.youtube.com/@a/streams"),  # as asked
        ("https://www.youtube.com/playlist?list=PL1", "https://www.youtube.com/playlist?list=PL1"),
    ],
)
def test_the_root_of_a_channel_means_its_videos(url: str, listed: str) -> None:
    assert Channel(name="a", url=url).url == listed


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "channel"),
        ("[[channel]]\nname = 'a'", "channel.0.url"),
        ("[[channel]]\nname = 'a'\nurl = 'file:///etc/passwd'", "http"),
        ("[[channel]]\nname = 'a'\nurl = 'https://u:p@example.org'", "password"),
        ("[[channel]]\nname = 'a'\nurl = 'https://e.org'\nspeed = 3", "channel.0.speed"),
        ("[[channel]]\nname = 'a'\nurl = 'https://e.org'\nafter = 2025-01-01\nbefore = 2024-01-01", "later"),
        ("[[channel]]\nname='a'\nurl='https://e.org'\n[[channel]]\nname='a'\nurl='https://f.org'", "twice"),
        ("[[channel]", "line 1"),
    ],
)
def test_a_malformed_list_is_one_sentence(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        read_channels(path)
    assert str(caught.value).startswith(f"{path} is not a channel list")
    assert named in str(caught.value) and "\n" not in str(caught.value) and "u:p" not in str(caught.value)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.toml"):
        read_channels(tmp_path / "gone.toml")
