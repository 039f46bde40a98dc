"""What can be compared, see `lrisc.evaluation.schemes.base`."""

from lrisc.evaluation.schemes.base import (
    Condition,
    Delivery,
    Options,
    Picture,
    Scheme,
    create_scheme,
    import_plugins,
    register,
    scheme_names,
)

__all__ = [
    "Condition",
    "Delivery",
    "Options",
    "Picture",
    "Scheme",
    "create_scheme",
    "import_plugins",
    "register",
    "scheme_names",
]
