"""What a person looks at, as plain data: no Markdown, no HTML; looking changes nothing."""
