"""The command line: one file a command. A door; nothing imports it."""

import gc

# Loading modules makes many objects and no garbage; the collector's walks over them are a tenth of a short command.
gc.set_threshold(100_000, 50, 50)
