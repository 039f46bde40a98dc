"""BPG: HEVC intra coding, with 5G LDPC or an ideal code."""
