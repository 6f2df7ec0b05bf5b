"""How much memory a step takes, counted from shapes alone, before anything is trained."""
