"""The cube contract, one file a source, dates, splits, cubes on disk."""
