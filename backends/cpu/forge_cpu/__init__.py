"""forge's CPU backend: the floor that every reply can land on."""
