"""One video to shards, in the order of the pipeline.

records     types that cross stages
video       path -> timestamped frames
planes      coded frames, cut and made smaller before they become RGB
remux       a video from the network -> a few of its keyframes
features    pictures -> keypoints, of templates and of what stands still; SIFT
xfeat       the same by a network, where SIFT finds nothing
spans       sampled frames + places -> which show what, which pad, and when it changes
look        template + place + what is seen there -> how opaque it is drawn, and whether it can be that drawing
variants    drawings that look the same at rest -> the one that is seen pressed
propose     frames in which no template is found -> where something looks like a pad
outline     template + place + what is seen there -> where the body of a skin is that only resembles it
votes       keypoints + templates -> which templates may be there, about where
fits        such a candidate -> where exactly, how much of it is seen, and how like it that looks
relatives   places that look like a pad -> the drawing that is there, or that what is there resembles
locate      sampled frames + templates -> Placement
layout      video + box + family -> where each control is, for a skin that nobody drew
rectify     frame + Placement -> panel, one tile per control
evidence    panel + template + the video's own rest picture -> the parser's input
sticks      a stick's pictures at every place that it can reach, and how badly each fits its tile
stick_fits  the same in the crop's own pixels
presses     crop + template -> how far each button has gone, and where that alone is clear
presence    panels + rest picture -> frames that show the overlay
network     the SegFormer, as it is trained and as it reads
parse       crops -> what each frame tells by itself
course      what many frames tell of the sticks -> where they are
normalise   one video's raw readings -> sticks in [-1, 1], buttons, confidence
filters     chunk -> Reject | None
shards      labels and frames <-> Parquet
leak        pixels beside the mask + labels -> does the mask hide all?
spool       small frames: blacked out, packed, kept until they are wanted
outputs     labels and frames of one video -> its files
gather      the one pass over a video -> readings and small frames
extract     the chain for one video
logs        controller logs of three formats -> one state per video frame
onsets      when presses begin and end
trust       whether confidence tells how often a frame is right
score       readings against a log
offset      how many frames the overlay lags behind a log
regions     a box of a video -> what lights up in it
matching    what lights up -> which buttons that is, by a family's layout
layers      frames in which something moves as one -> what it covers, looks like and hides, and where it was
caps        what moves where a layout has a stick -> its cap, its middle and how far it goes
borrowed    the caps of sticks that a video does not tell, from the family's drawings
adopt       a video that shows an unknown skin -> a template
"""
