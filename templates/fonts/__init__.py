"""The type that overlays are set in: which faces there are, and which of them draws a character.

`files/` has the faces, `licenses/` what their authors allow; both are written by
`python -m templates.fonts.build`.
"""
