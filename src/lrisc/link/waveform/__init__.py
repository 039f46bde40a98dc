"""OFDM around the frame, and the receiver that finds, synchronises and equalises it.

symbols ─ numerology's grid ─ comb pilots ─ IFFT, cyclic prefix ─ clip ─┐
                                     preamble ─ training ──────────────┴─► samples

samples ─ detection ─ ambiguity ─ FFT ─ increments (CFO, clock) ─ LMMSE ─► Received
"""
