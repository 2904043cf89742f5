"""The dual attention network: leads kept apart, published sizes, equality with a loop over leads."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.models import DualAttentionEncoder, StudyDecoder, set_batchwise_dropout
from ecgrepro.models.dual_attention import LEADS, Stem


def ecgs(batch: int, length: int = 64, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return white noise of shape (batch, 12, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, LEADS, length, generator=generator, dtype=dtype)


def encoder(length: int = 64, stem: str = "lead_true", **options: float) -> DualAttentionEncoder:
    """Return a seeded encoder in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DualAttentionEncoder(length=length, stem=stem, **options).eval()  # type: ignore[arg-type]


def parameters(module: nn.Module) -> int:
    """Count trainable numbers."""
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def loop() -> ModuleType:
    """Return the benchmark's module, which holds the loop over leads."""
    path = ROOT / "benchmarks" / "encoders.py"
    spec = importlib.util.spec_from_file_location("benchmark_encoders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("length", "mixing", "decoder"), [(1024, 3_313_976, 265_166), (608, 1_274_536, 110_570)]
)
def test_published_parameter_counts(length: int, mixing: int, decoder: int) -> None:
    """STUDY.md section 3: exactly the published sizes; the lead-true stem has 10,560 fewer."""
    assert parameters(encoder(length, "mixing")) == mixing
    assert parameters(encoder(length)) == mixing - 48 * (48 - 4) * 5
    assert parameters(StudyDecoder(512, length)) == decoder


@pytest.mark.parametrize("train", [False, True])
def test_features_before_attention_depend_on_their_own_lead_only(train: bool) -> None:
    """S-2, R-4: the Jacobian to other leads is exactly 0, also with training statistics."""
    network = encoder().train(train)
    x = ecgs(2).requires_grad_()
    features = network.lead_features(x)
    assert features.shape == (2, 12, 16, 2)
    for lead in range(LEADS):
        (grad,) = torch.autograd.grad(features[:, lead].square().sum(), x, retain_graph=True)
        reached = grad.abs().amax(dim=(0, 2)) > 0
        assert reached.tolist() == [other == lead for other in range(LEADS)]


def test_the_published_stem_mixes_leads() -> None:
    """S-2: a slot's own lead has about 1/12 of the input gradient, as in the audit."""
    network = encoder(256, "mixing")
    x = ecgs(4, 256).requires_grad_()
    features = network.lead_features(x)
    shares = []
    for slot in range(LEADS):
        (grad,) = torch.autograd.grad(features[:, slot].square().sum(), x, retain_graph=True)
        energy = grad.abs().sum(dim=(0, 2))
        shares.append((energy[slot] / energy.sum()).item())
    assert max(shares) < 0.2


def test_the_published_view_scatters_lead_major_channels() -> None:
    """S-1: slot s, feature f comes from lead (12 f + s) div 4; lead I lands in slots 0 to 3."""
    channels = torch.arange(48.0).view(1, 48, 1, 1).contiguous(memory_format=torch.channels_last)
    true_slots = Stem(lead_true=True).slots(channels)[0, :, 0] // 4
    published = Stem(lead_true=False).slots(channels)[0, :, 0] // 4
    assert true_slots.tolist() == [[lead] * 4 for lead in range(LEADS)]
    expected = [[(12 * f + s) // 4 for f in range(4)] for s in range(LEADS)]
    assert published.tolist() == expected
    assert [slot for slot in range(LEADS) if published[slot, 0] == 0] == [0, 1, 2, 3]


def test_map_shapes_and_rows() -> None:
    """R-5: twelve lead tokens; softmax rows sum to 1; shapes at 1,024 and 608 samples."""
    for length, tokens in ((1024, 32), (608, 19)):
        with torch.inference_mode():
            z, maps = encoder(length)(ecgs(2, length), return_attention=True)
        assert z.shape == (2, 512)
        assert maps.lead.shape == (2, 12, 12)
        assert maps.temporal.shape == (2, 12, tokens, tokens)
        for rows in (maps.lead, maps.temporal):
            torch.testing.assert_close(rows.sum(dim=-1), torch.ones(rows.shape[:-1]))
            assert (rows >= 0).all()


def test_changing_a_lead_changes_its_temporal_map_alone() -> None:
    """S-1, S-2, R-4: temporal map j belongs to lead j."""
    network = encoder(256)
    x = ecgs(2, 256)
    with torch.inference_mode():
        before = network(x, return_attention=True)[1]
        for lead in (0, 3, 11):
            changed = x.clone()
            changed[:, lead] = ecgs(2, 256, seed=9)[:, lead]
            after = network(changed, return_attention=True)[1]
            moved = (after.temporal - before.temporal).abs().amax(dim=(0, 2, 3)) > 0
            assert moved.tolist() == [other == lead for other in range(LEADS)]
            assert (after.lead - before.lead).abs().max() > 1e-6


def test_attention_depends_on_the_input_and_is_not_uniform() -> None:
    """R-3: a layer norm over one feature made the attention uniform."""
    network = encoder(256)
    with torch.inference_mode():
        _, maps = network(ecgs(2, 256), return_attention=True)
    assert (maps.temporal - 1 / 8).abs().max() > 0.01
    assert (maps.temporal[0] - maps.temporal[1]).abs().max() > 0.01
    assert (maps.lead - 1 / 12).abs().max() > 0.001


def test_asking_for_maps_changes_nothing() -> None:
    """The explicit softmax and the fused attention give the same latent."""
    network = encoder()
    with torch.inference_mode():
        torch.testing.assert_close(
            network(ecgs(3), return_attention=True)[0], network(ecgs(3)), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("stem", ["lead_true", "mixing"])
def test_outputs_do_not_depend_on_batch_companions(stem: str) -> None:
    """R-2: attention runs within a subject; maps too."""
    network = encoder(stem=stem)
    x = ecgs(4)
    other = torch.cat([x[:1], 5 * ecgs(3, seed=8)])
    with torch.inference_mode():
        z, maps = network(x, return_attention=True)
        z_other, maps_other = network(other, return_attention=True)
    torch.testing.assert_close(z[0], z_other[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(maps.lead[0], maps_other.lead[0])
    torch.testing.assert_close(maps.temporal[0], maps_other.temporal[0])


def test_lead_true_training_outputs_do_not_depend_on_companions_either() -> None:
    """R-2: no batch statistics anywhere in the default network."""
    network = encoder(dropout=0.0).train()
    x = ecgs(4)
    alone = network(x[:1])
    torch.testing.assert_close(network(x)[:1], alone, rtol=1e-5, atol=1e-5)


def test_batchwise_policy_reaches_the_whole_network() -> None:
    """S-17, S-18, S-19: identical subjects get identical training outputs only when batch-wise."""
    network = encoder(batchwise_dropout=True).train()
    twins = ecgs(1).repeat(3, 1, 1)
    torch.manual_seed(0)
    z = network(twins)
    torch.testing.assert_close(z[[1, 2]], z[[0, 0]], rtol=1e-4, atol=1e-5)  # rows round differently
    assert (z - network(twins)).abs().max() > 0.01  # a new mask is drawn each time
    set_batchwise_dropout(network, False)
    z = network(twins)
    assert (z[0] - z[1]).abs().max() > 0.01


def test_eval_is_deterministic() -> None:
    """S-20: no dropout is born in forward; two eval calls agree, training calls do not."""
    network = encoder()
    x = ecgs(2)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("train", [False, True])
def test_a_batch_of_one_keeps_its_axis(train: bool) -> None:
    """S-21: squeeze never removes the batch."""
    network = encoder().train(train)
    z, maps = network(ecgs(1), return_attention=True)
    assert z.shape == (1, 512)
    assert maps.lead.shape == (1, 12, 12)
    assert maps.temporal.shape == (1, 12, 2, 2)


def test_bad_options_are_refused() -> None:
    """S-25: odd lengths are not silently cropped; unknown stems are named."""
    with pytest.raises(InputError, match="multiple of 32"):
        DualAttentionEncoder(length=1000)
    with pytest.raises(InputError, match="lead_true"):
        DualAttentionEncoder(stem="true")
    with pytest.raises(InputError, match="even"):
        DualAttentionEncoder(length=64, latent=7)


def test_a_loop_over_leads_gives_the_same_values_and_gradients(loop: ModuleType) -> None:
    """The computation for all leads at once is the per-lead network, to rounding (float64)."""
    ours = encoder(128, dropout=0.0).train().double()
    decoder = StudyDecoder(512, 128).double()
    one_by_one = loop.LoopEncoder(ours).double().train()
    back_one_by_one = loop.LoopDecoder(decoder).double().train()
    x = ecgs(3, 128, dtype=torch.float64).requires_grad_()
    z, z_loop = ours(x), one_by_one(x)
    torch.testing.assert_close(z_loop, z, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(back_one_by_one(z), decoder(z), rtol=1e-8, atol=1e-8)
    (grad,) = torch.autograd.grad(z.square().sum(), x)
    (grad_loop,) = torch.autograd.grad(z_loop.square().sum(), x)
    torch.testing.assert_close(grad_loop, grad, rtol=1e-8, atol=1e-8)


def test_a_loop_over_leads_agrees_in_float32_at_full_length(loop: ModuleType) -> None:
    """Equal outputs, to float32 rounding."""
    ours = encoder(1024)
    with torch.inference_mode():
        torch.testing.assert_close(
            loop.LoopEncoder(ours).eval()(ecgs(2, 1024)), ours(ecgs(2, 1024)), rtol=1e-4, atol=1e-4
        )
