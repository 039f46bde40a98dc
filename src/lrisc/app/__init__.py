"""The web page: a photograph, a channel, and what arrives, in a browser on this machine.

``service`` does the work and knows no web framework; ``page`` lays it out; ``server`` runs it.
"""
