"""forge in a terminal: the Textual front end."""
