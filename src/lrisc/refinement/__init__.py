"""The transmitter tries harder: it improves one frame's payload through the receiver's networks."""
