"""The API page: Swagger UI from files of our own, so that it works offline and tells nobody."""

import functools
from importlib import resources
from typing import Final

__all__ = ["CONTENT_SECURITY_POLICY", "INIT_JS", "SCHEMA_PAGE", "asset"]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The header to send with the page: nothing from another host and no inline script."""

SCHEMA_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>image-gateway API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/schema/assets/swagger-ui.css">
</head>
<body>
<div id="app"></div>
<noscript>This page needs JavaScript; the schema itself is at /schema/openapi.json.</noscript>
<script src="/schema/assets/swagger-ui-bundle.js"></script>
<script src="/schema/assets/init.js"></script>
</body>
</html>
"""
"""The page itself, `text/html`."""

# `validatorUrl: null`: by default the page shows the schema to a validator on the internet.
INIT_JS: Final = b"""SwaggerUIBundle({
  url: "/schema/openapi.json",
  dom_id: "#app",
  deepLinking: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
});
"""
"""What starts the page; served as the asset `init.js`."""

_FILES: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}


@functools.cache
def asset(name: str) -> tuple[bytes, str] | None:
    """The bytes and the content type of a file that the page loads, kept in memory (1.9 MB).

    Args:
        name: the last part of `/schema/assets/<name>`, from the user.

    Returns:
        None when the page has no such file.
    """
    if name == "init.js":
        return INIT_JS, "text/javascript; charset=utf-8"
    if name not in _FILES:
        return None
    return resources.files("gateway").joinpath("static", "swagger-ui", name).read_bytes(), _FILES[name]
