"""The fal.ai provider: queue client, error table and uploads.

Empty until the fal issue lands. The registry's fal models load, validate and price without
it; they show as not available.
"""
