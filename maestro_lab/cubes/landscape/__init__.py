"""The synthetic cube ``landscape``: made when asked for, any size, with planted truth."""

from maestro_lab.cubes.landscape.reader import open_landscape

__all__ = ["open_landscape"]
