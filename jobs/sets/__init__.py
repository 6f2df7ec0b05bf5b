"""The tools of sets, one file a tool: the commands `diffusion-perception set TOOL`. Which there are says `jobs.set`."""
