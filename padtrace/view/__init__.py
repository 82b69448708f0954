"""``padtrace view``: a page, served on this machine alone, on which a person looks at a dataset.

pictures    frames out of the shards, overlays out of the source video
timeline    a whole video in some hundred numbers, and where its labels are in doubt
server      the page, and what it asks for
page/       the page itself: HTML, CSS and JavaScript as they are sent
"""
