"""What Pandoc makes of a file: its JSON, and the blocks of it written as ours."""
