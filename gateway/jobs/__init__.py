"""Jobs: their rows, the runner that drives them, what happens to them at a start."""
