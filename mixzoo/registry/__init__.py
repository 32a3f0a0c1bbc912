"""Which parts there are: plugins, their names and options, and a part from its recipe."""
