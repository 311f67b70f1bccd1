"""The program that is improved: its operations, run forwards and backwards."""
