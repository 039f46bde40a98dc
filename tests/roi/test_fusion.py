import torch

from lrisc.roi.fusion import fuse, latent_weight, smooth, steer_bits


def half() -> torch.Tensor:
    mask = torch.zeros(1, 1, 128, 256)
    mask[..., 128:] = 1
    return mask


def test_the_weight_is_gamma_outside_and_one_inside() -> None:
    w = latent_weight(half(), torch.tensor([0.3]))
    assert w.shape == (1, 1, 8, 16)
    torch.testing.assert_close(w[..., :6], torch.full((1, 1, 8, 6), 0.3), atol=0.01, rtol=0)
    torch.testing.assert_close(w[..., 10:], torch.ones(1, 1, 8, 6), atol=0.01, rtol=0)
    assert bool((w[0, 0, 0, 1:] >= w[0, 0, 0, :-1] - 1e-6).all())


def test_gamma_one_changes_nothing() -> None:
    z = torch.randn(1, 8, 8, 16)
    torch.testing.assert_close(fuse(z, half(), torch.ones(1)), z)


def test_the_first_quarter_of_the_channels_is_spared() -> None:
    z = torch.ones(1, 8, 8, 16)
    weighted = fuse(z, half(), torch.tensor([0.5]))
    assert torch.equal(weighted[:, :2], z[:, :2])
    torch.testing.assert_close(weighted[0, 2:, 0, 0], torch.full((6,), 0.5), atol=0.01, rtol=0)


def test_smoothing_keeps_the_edge_where_it_is() -> None:
    soft = smooth(half())[0, 0, 64]
    assert float(soft[127]) < 0.5 < float(soft[128])
    assert 0.5 - float(soft[127]) < 0.2


def test_pictures_of_a_batch_have_their_own_strength() -> None:
    z = torch.ones(2, 4, 8, 16)
    both = fuse(z, half().expand(2, -1, -1, -1), torch.tensor([0.2, 0.9]))
    assert float(both[0, 3, 0, 0]) < 0.22
    assert float(both[1, 3, 0, 0]) > 0.89


def test_a_region_of_sixteen_pixels_still_counts() -> None:
    mask = torch.zeros(1, 1, 128, 256)
    mask[..., 70:74, 100:104] = 1
    w = latent_weight(mask, torch.tensor([0.3]))
    assert float(w[0, 0, 4, 6]) == 1
    assert int((w > 0.5).sum()) < 9
    torch.testing.assert_close(w[..., 10:], torch.full((1, 1, 8, 6), 0.3), atol=1e-3, rtol=0)


def test_without_a_region_every_weight_is_gamma() -> None:
    w = latent_weight(torch.zeros(1, 1, 64, 64), torch.tensor([0.4]))
    torch.testing.assert_close(w, torch.full((1, 1, 4, 4), 0.4), atol=1e-5, rtol=0)
    w = latent_weight(torch.ones(1, 1, 64, 64), torch.tensor([0.4]))
    torch.testing.assert_close(w, torch.ones(1, 1, 4, 4))


def test_bits_are_steered_by_the_same_weight() -> None:
    bits = torch.full((1, 8, 16), 20.0)
    gamma = torch.tensor([0.25])
    steered = steer_bits(bits, half(), gamma)
    torch.testing.assert_close(steered, 20 * latent_weight(half(), gamma)[:, 0])
    assert float(steered[0, 0, 15] / steered[0, 0, 0]) > 3.9
