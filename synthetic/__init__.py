"""Rendered training pictures, and the training.

states        what hands do on a pad
games         real games that play themselves, for backgrounds
backgrounds   pairs of game frames to draw overlays on
split         which drawings training sees, and which are kept to judge it
pads          random pads that nobody drew
degrade       what capture and encoding do to a picture
compose       overlay over game -> training pairs
training      the parser's training, resumable
clips         encoded clips with their logs, for evaluation
lookalikes    pictures that look like pads and are none
grid          short clips on which localisation is judged
"""
