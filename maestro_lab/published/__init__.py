"""Weights that others published: fetched by name, read safely, loaded in full, and written back."""
