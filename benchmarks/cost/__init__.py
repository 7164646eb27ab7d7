"""What a picture costs: each network's operations, memory traffic, speed, and the floor beside them."""
