"""How strongly a text breaks where, by its own structure: one file a kind of text, each with `strengths(text)`.

Strengths lie in (0, 1): about .9 for sections, .8 for paragraphs, .6 for lines and list items, .5 for sentences, and
below that for places inside what should stay whole (.4 a wrapped line, .2 a table row, .1 a line of code in a fence).
"""
