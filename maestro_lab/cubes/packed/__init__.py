"""The packed store: a plain zarr v3 group whose chunk files training maps into memory.

``/NAME`` of a modality holds ``values (image, band, y, x)``, uncompressed and unsharded, with the
images of a sample one after the other: those of sample ``i`` are ``offset[i]`` to
``offset[i + 1]``. ``valid (image, byte)`` holds a bit a pixel, ``share (image)`` the share of
pixels that are valid, ``time (image)`` the dates. The root and ``/targets`` are as in any cube.
The attributes of ``/manifest`` list every
file with its size and checksum.
"""
