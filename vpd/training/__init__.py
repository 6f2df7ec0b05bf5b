"""Learning: settings, parameter groups and schedules, the loop, and what a run keeps of itself."""
