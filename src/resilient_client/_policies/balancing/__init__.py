"""Which of several endpoints gets an attempt, and which of them is healthy."""
