"""Between a user's arrays and a network: sizes, sessions, streams, receptive fields."""
