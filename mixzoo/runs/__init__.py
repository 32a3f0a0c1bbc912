"""A run is a directory, and a sweep is many of them."""
