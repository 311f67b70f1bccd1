"""The page that a person looks at: in a chat, in a browser, as a file; one code for the three."""
