"""The shared language: models and errors that every layer speaks. Imports nothing of ours."""
