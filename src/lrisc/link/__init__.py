"""What is not learned between the JSCC encoder and decoder: FEC, frame, channels, IQ files."""
