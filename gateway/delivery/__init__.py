"""Telling of a job's end by mail and by webhook: the outbox, what delivers it, and who is called."""
