"""What ``extract`` wrote -> what a trainer reads, and what a person looks at. ``padtrace.dataset`` is for import.

dataset     the data for training
reports     what ``extract`` says about each video
stats       what a dataset holds
plots       the same as pictures
card        the same as the README.md of a public release
view        a page to look at videos, and to mark what is wrong
"""
