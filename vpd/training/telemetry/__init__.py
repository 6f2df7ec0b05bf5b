"""What a run says of itself while it trains: numbers, pictures, pace and traces, wherever they go."""
