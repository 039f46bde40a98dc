import pytest
import torch

from lrisc.errors import InputError
from lrisc.models.config import Steering
from lrisc.roi.region import Region, Regions


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gamma": 0.0}, "strength must lie in"),
        ({"gamma": 1.5}, "strength must lie in"),
        ({"gamma": float("nan")}, "strength must be"),
        ({"steering": "hope"}, "'hope' is none of latent"),
    ],
)
def test_what_no_region_can_be(options: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Region("auto", **options)  # type: ignore[arg-type]


def test_one_default_and_no_region_twice() -> None:
    region = Region.of("1,2,3,4")
    assert (region.mask, region.gamma, region.steering) == ("1,2,3,4", 0.45, None)
    assert Region.of(region) is region
    assert Region.of(None).mask_on(torch.zeros(3, 64, 64)) is None


@pytest.mark.parametrize(
    ("steering", "latent", "bits", "power"),
    [
        ("latent", True, False, False),
        ("rate", False, True, False),
        ("both", True, True, False),
        ("power", False, True, True),
    ],
)
def test_what_a_steering_weights(steering: Steering, latent: bool, bits: bool, power: bool) -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, :32, :32] = 1
    regions = Regions(mask, torch.tensor([0.5, 1.0]), steering)
    z, wanted = torch.ones(2, 8, 4, 4), torch.ones(2, 4, 4)
    assert (not torch.equal(regions.weigh_latent(z), z)) == latent
    assert (not torch.equal(regions.weigh_bits(wanted), wanted)) == bits
    assert regions.uneven().tolist() == [power, False]
