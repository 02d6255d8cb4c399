"""The fal.ai provider: addresses, the queue, errors, uploads, results."""
