"""`fovea bench mixers`: what token mixers recall, for what state, at what speed."""
