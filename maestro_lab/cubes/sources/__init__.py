"""One file a source: native files or arrays in, a cube out."""
