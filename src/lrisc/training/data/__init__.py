"""Training pictures: where they lie, stored squares, crops."""
