"""Models that this package ships, named `embedded:<name>` in the registry."""
