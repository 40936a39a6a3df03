"""Load on a deployment of Dayfold: how fast it answers one, many, and many at once."""
