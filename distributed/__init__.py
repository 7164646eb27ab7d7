"""Training and evaluation over many processes: thin entries around lisa's loop."""
