"""Which of several endpoints gets the next attempt, and which of them are healthy."""
