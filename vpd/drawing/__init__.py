"""Pictures for people: what a drawing may choose, what its colours mean, and how that is written below it."""
