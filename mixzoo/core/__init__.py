"""What every other room is written in: the protocols of the parts, mixing, objectives, data, draws, errors."""
