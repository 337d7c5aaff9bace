"""Transformers, tokens, masks, and the models made of them."""
