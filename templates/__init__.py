"""What controllers look like.

controls    the names, order and ranges of one controller state
scene       a template: a canvas and an ordered list of parts
families    family drawing + style -> Scene, for the library's own templates
catalogue   the library, and templates on disk
importers   skins of overlay programs -> Scene
draw        Scene + states -> pictures
"""
