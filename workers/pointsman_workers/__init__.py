"""The doing: workers take jobs off the queue, ask the flag which tier, classify, store. Knows no HTTP, no CLI."""
