"""Business presets on top of the models. Knows the registry; never the gateway."""
