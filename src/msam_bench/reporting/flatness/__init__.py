"""Flatness of finished runs: measures, comparison, surfaces, pictures and a page. The parts lie in the modules."""
