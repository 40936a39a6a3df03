"""The command line: one file a command. A door; nothing imports it."""
