"""Rendered training pictures, and the training.

states        what hands do on a pad
games         real games that play themselves, for backgrounds
backgrounds   pairs of game frames to draw overlays on
split         which drawings training sees, and which are kept to judge it
pads          random pads that nobody drew
degrade       what capture and encoding do to a picture
compose       overlay over game -> training pairs
runs          what all trainings share: steps, checkpoints, curves
training      the parser's training, resumable
pairs         drawings and games that show them, for XFeat
xfeat         XFeat's training, resumable
takes         what the sampled frames of a game show without an overlay
windows       takes, pads and what is mistaken for them -> the proposer's training windows
proposing     the proposer's training, resumable
thresholds    from which score a proposal is told of
clips         encoded clips with their logs, for evaluation
unknown       clips of imported skins, for the same
lookalikes    pictures that look like pads and are none
grid          short clips on which localisation is judged
"""
