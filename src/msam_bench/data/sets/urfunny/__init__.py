"""UR-FUNNY: humour in talks, from words, voice and face."""
