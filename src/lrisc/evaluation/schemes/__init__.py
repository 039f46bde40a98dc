"""What can be compared, see `lrisc.evaluation.schemes.base`."""

from lrisc.evaluation.schemes.base import (
    SCHEMES,
    Condition,
    Delivery,
    Options,
    Picture,
    Scheme,
    create_scheme,
)

__all__ = [
    "SCHEMES",
    "Condition",
    "Delivery",
    "Options",
    "Picture",
    "Scheme",
    "create_scheme",
]
