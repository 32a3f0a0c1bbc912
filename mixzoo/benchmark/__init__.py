"""Measurements for `mixzoo bench`: time, memory and operations of a training step."""
