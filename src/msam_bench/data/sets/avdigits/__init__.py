"""av-digits: reduced handwritten digits paired with spoken digits in noise."""
