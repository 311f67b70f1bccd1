"""What a program scores on examples, and how sure that is."""
