"""What lies over the chat when a person asks for it."""
