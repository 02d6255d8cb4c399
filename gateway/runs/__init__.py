"""A template's run: a parent job with one quote, one hold and one cost, whose steps are jobs of their own."""
