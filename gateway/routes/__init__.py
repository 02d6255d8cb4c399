"""HTTP handlers: they read a request, call the core and shape the answer. No decisions here."""
