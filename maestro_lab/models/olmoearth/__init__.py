"""OlmoEarth: latent masked image modelling of many sensors (arXiv 2511.13655).

Written from a behavioural specification; ``docs/fidelity.md`` lists where it deviates.

Shapes: b samples, d dates (slots of a month), g token band groups, l locations (patches, row by
row), n tokens of a sequence, c bands, w channels of a token, s = 8 x 8 pixels of a resized patch.
"""
