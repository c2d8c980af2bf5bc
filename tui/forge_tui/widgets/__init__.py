"""What is on the screen, a widget a file: attributes go down, messages come up."""
