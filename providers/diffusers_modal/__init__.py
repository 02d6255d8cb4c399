"""Our diffusers backends: one engine, run by Modal GPU classes or by a process of its own."""
