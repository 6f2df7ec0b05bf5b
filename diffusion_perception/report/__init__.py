"""A page about runs: their curves, what they were told, what they score, and what the best and worst predictions are.

`runs` reads what a run leaves behind, `comparing` holds several against each other, `curves` draws numbers over steps,
`predictions` looks at the checkpoint's answers one by one, `page` puts it together. Nothing here trains or needs Ray.
"""
