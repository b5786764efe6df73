"""AVE: audio-visual events in clips of ten seconds."""
