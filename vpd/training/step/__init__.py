"""What one optimiser step does: how it computes, whose gradients it adds up, what it refuses, and what it updates."""
