"""The HTTP door: queries, jobs and access over HTTP. The only floor with async code, over a synchronous core."""
