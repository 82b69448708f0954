"""Importers: each turns one overlay program's skins into scenes.

input_overlay   OBS input-overlay presets (JSON + PNG atlas)
"""
