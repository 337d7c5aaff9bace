"""Large scenes -> samples: windows that scenes share, their dates, their splits and targets."""
