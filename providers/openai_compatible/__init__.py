"""Servers that speak OpenAI's Images API: OpenAI itself, LocalAI, vLLM-Omni and the like."""
