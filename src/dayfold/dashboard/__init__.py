"""The dashboard: pages that the server renders, over the same verbs as the HTTP API. A door, above HTTP."""
