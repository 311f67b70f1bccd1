"""What a person or an assistant is shown of a session."""
