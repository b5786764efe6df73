"""CREMA-D: six emotions, seen and heard."""
