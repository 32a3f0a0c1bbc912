"""Data sets: how they are loaded, checked, placed on a device and split into batches."""
