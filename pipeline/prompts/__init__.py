"""Class names as prompts, and prompts as a table of text embeddings."""
