"""What controllers look like.

controls    the names, order and ranges of one controller state
scene       a template: a canvas and an ordered list of parts
drawings    the library's SVG and TOML files
markup      SVG and CSS, as far as drawings need them
families    a drawing + a style -> Scene, for the library's own templates
catalogue   the library, and templates on disk
importers   skins of overlay programs -> Scene
draw        Scene + states -> pictures
sprites     a template -> pictures that a page puts together
sheet       all templates in one picture
"""
