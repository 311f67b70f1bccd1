"""Local work that a caller's input can make long, in processes that can be ended."""
