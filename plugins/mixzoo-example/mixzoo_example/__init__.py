"""The mixer 'voronoi' for mixzoo."""
