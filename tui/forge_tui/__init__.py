"""forge chat: the terminal's front end. A view: it imports `forge`, and nothing imports it."""
