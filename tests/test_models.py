"""Builders, CNN, decoders, heads, dropout, whole models, weights on disk."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.models import (
    DECODERS,
    ENCODERS,
    BatchwiseDropout,
    Decoder,
    DualAttentionEncoder,
    ProjectionHead,
    RiskHead,
    StudyDecoder,
    build_alignment_model,
    build_decoder,
    build_encoder,
    build_risk_model,
    load_alignment,
    load_weights,
    read_config,
    risk_model_from,
    save_weights,
    set_batchwise_dropout,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomize_statistics(module: nn.Module) -> None:
    """Give batch normalisations statistics as if trained."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = normal(part.num_features, seed=1) * 0.1
            part.running_var = normal(part.num_features, seed=2).abs() + 0.5


# ---- builders and encoders ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("length", [64, 608, 1024])
def test_every_encoder_builds_runs_and_learns(kind: str, length: int) -> None:
    """S-23: every registered option builds; every parameter gets a gradient."""
    encoder = build_encoder(kind, length=length)
    z = encoder(normal(2, 12, length))
    assert z.shape == (2, 512)
    z.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("kind", ENCODERS)
def test_latent_width_is_a_parameter(kind: str) -> None:
    """The latent need not be 512."""
    assert build_encoder(kind, length=64, latent=96)(normal(2, 12, 64)).shape == (2, 96)


def test_a_cnn_latent_says_where_a_beat_is() -> None:
    """Moving a beat moves the ordered half of the latent; a pooled latent could not be decoded."""
    encoder = build_encoder("cnn", length=1024).eval()
    early, late = torch.zeros(2, 1, 12, 1024)
    early[..., 300:310], late[..., 620:630] = 5.0, 5.0  # 320 samples: ten tokens apart
    with torch.inference_mode():
        z_early, z_late = encoder(early)[0], encoder(late)[0]
    torch.testing.assert_close(z_early[:256], z_late[:256], rtol=1e-4, atol=1e-4)
    where_early, where_late = z_early[256:].view(8, 32), z_late[256:].view(8, 32)
    torch.testing.assert_close(where_early[:, 7:12], where_late[:, 17:22], rtol=1e-4, atol=1e-4)
    assert (where_early - where_late).abs().max() > 0.1
    with pytest.raises(InputError, match="too narrow"):
        build_encoder("cnn", length=1024, latent=32)


class Own(nn.Module):
    """What a reader might write: twelve leads, averaged in 32 windows, through one layer."""

    def __init__(self, out: int = 512) -> None:
        super().__init__()
        self.layer = nn.Linear(12 * 32, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to ``(B, out)``."""
        return self.layer(nn.functional.adaptive_avg_pool1d(x, 32).flatten(1))


@pytest.mark.parametrize("lead_scale", [False, True])
def test_an_encoder_of_the_readers_own_is_passed_in(lead_scale: bool, tmp_path: Path) -> None:
    """A class, a module, in both whole models; seeded, copied, kept; what it must give is said."""
    x, scale = normal(3, 12, 64), torch.full((3, 12), 0.2)
    model = build_alignment_model(Own, length=64, lead_scale=lead_scale, seed=1).eval()
    again = build_alignment_model(Own, length=64, lead_scale=lead_scale, seed=1).eval()
    out = model(x, normal(3, 768), scale)
    assert [tuple(v.shape) for v in out] == [(3, 512), (3, 512), (3, 512), (3, 12, 64)]
    assert torch.equal(out.z_ecg, again(x, normal(3, 768), scale).z_ecg)
    assert risk_model_from(model)(x, scale).log_risk.shape == (3,)
    module = Own()
    risk = build_risk_model(module, length=64, lead_scale=lead_scale)
    assert risk.encoder.network is not module
    assert risk(x, scale).z_ecg.shape == (3, 512)
    with pytest.raises(
        InputError, match=r"Own maps \(3, 12, 64\) to \(3, 8\): let it give \(B, 512\)"
    ):
        build_encoder(Own(8), length=64)(x)
    path = tmp_path / "own.safetensors"
    whole = build_alignment_model(Own, lead_scale=lead_scale)
    save_weights(whole, path, {"encoder": "Own", "text_dim": 768, "lead_scale": lead_scale})
    with pytest.raises(InputError, match='"Own" is unknown'):
        load_alignment(path)
    loaded = load_alignment(path, Own).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in whole.state_dict().items())


def test_a_subclass_of_our_encoder_is_built_like_it() -> None:
    """Its length and latent are those of the model."""

    class Still(DualAttentionEncoder):
        pass

    model = build_alignment_model(Still, length=64, latent=96)
    assert (type(model.encoder), model.encoder.length, model.encoder.latent) == (Still, 64, 96)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    """A mistyped name is refused."""
    with pytest.raises(InputError, match="use cnn or dual_attention"):
        build_encoder("dual_atention")
    with pytest.raises(InputError, match="light, study"):
        build_decoder("heavy")


@pytest.mark.parametrize("kind", ENCODERS)
def test_wrong_input_is_refused_in_one_sentence(kind: str) -> None:
    """S-39: the built length is stored, another length fails clearly; so do other shapes."""
    encoder = build_encoder(kind, length=64)
    assert encoder.length == 64
    with pytest.raises(InputError, match="96 samples but this encoder was built for 64"):
        encoder(normal(2, 12, 96))
    with pytest.raises(InputError, match=r"\(2, 8, 64\)"):
        encoder(normal(2, 8, 64))
    with pytest.raises(InputError, match=r"\(12, 64\)"):
        encoder(normal(12, 64))
    with pytest.raises(InputError, match="multiple of 32"):
        build_encoder(kind, length=1000)


@pytest.mark.parametrize("kind", ENCODERS)
def test_eval_outputs_do_not_depend_on_batch_companions(kind: str) -> None:
    """R-2: encoder and decoder, with trained-looking statistics; two calls agree (S-20)."""
    encoder = build_encoder(kind, length=64).eval()
    decoder = Decoder(512, 64).eval()
    for module in (encoder, decoder):
        randomize_statistics(module)
    x = normal(4, 12, 64)
    other = torch.cat([x[:1], 7 * normal(2, 12, 64, seed=5)])
    with torch.inference_mode():
        one, two = decoder(encoder(x))[0], decoder(encoder(other))[0]
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
        assert torch.equal(encoder(x), encoder(x))


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("train", [False, True])
def test_a_batch_of_one_works(kind: str, train: bool) -> None:
    """S-21, R-12: the batch axis survives, and training on one record does not raise."""
    model = build_risk_model(kind, length=64).train(train)
    out = model(normal(1, 12, 64))
    assert out.log_risk.shape == (1,)
    assert out.z_ecg.shape == (1, 512)
    assert out.reconstruction.shape == (1, 12, 64)


@pytest.mark.parametrize("kind", ENCODERS)
def test_flat_leads_give_finite_values_and_gradients(kind: str) -> None:
    """A masked record (all zeros) never gives NaN."""
    encoder = build_encoder(kind, length=64)
    x = normal(3, 12, 64)
    x[0] = 0.0
    x[1, 5] = 0.0
    encoder(x).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_a_cnn_has_no_attention_maps() -> None:
    """Asking for them says which encoder has them."""
    with pytest.raises(InputError, match="dual_attention"):
        build_encoder("cnn", length=64)(normal(1, 12, 64), return_attention=True)


@pytest.mark.parametrize("kind", ENCODERS)
def test_lead_scale_reaches_the_latent(kind: str) -> None:
    """Voltage, which z-scoring erases, is an input again; missing or misshapen scales are refused."""
    encoder = build_encoder(kind, length=64, lead_scale=True).eval()
    x = normal(2, 12, 64)
    scale = torch.full((2, 12), 0.15)
    with torch.inference_mode():
        z = encoder(x, scale)
        assert (encoder(x, 2 * scale) - z).abs().max() > 0.01
        assert torch.isfinite(encoder(x, 0 * scale)).all()  # a flat lead has scale 0
    with pytest.raises(InputError, match="lead scales"):
        encoder(x)
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        encoder(x, torch.ones(2, 3))


# ---- decoders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("length", [64, 608, 1024])
def test_decoders_give_twelve_leads(kind: str, length: int) -> None:
    """S-23, S-25: exactly the length asked for."""
    assert build_decoder(kind, length=length)(normal(2, 512)).shape == (2, 12, length)
    with pytest.raises(InputError, match="multiple of 32"):
        build_decoder(kind, length=length + 1)


def test_only_the_study_decoder_forces_mean_and_variance() -> None:
    """S-34: an offset and an amplitude can be learned by the default decoder."""
    z = normal(3, 512)
    with torch.inference_mode():
        study = StudyDecoder(512, 64).eval()(z)
        light = Decoder(512, 64).eval()(z)
    torch.testing.assert_close(study.mean(dim=-1), torch.zeros(3, 12), atol=1e-5, rtol=0)
    assert (light.std(dim=-1) - 1).abs().max() > 0.1
    assert light.mean(dim=-1).abs().max() > 0.01


def test_the_decoder_can_learn_offset_amplitude_and_zero_leads() -> None:
    """S-34: three records with a constant, a large and a zero lead are fitted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = Decoder(32, 64)
    z = normal(3, 32)
    target = torch.zeros(3, 12, 64)
    target[0] = 2.0
    target[1] = 3.0 * torch.sin(torch.arange(64) / 5)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (decoder(z) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert target.square().mean().item() > 2.0


# ---- dropout and heads ----------------------------------------------------------------------------


def test_batchwise_dropout_draws_one_mask_for_all_subjects() -> None:
    """S-17, S-18: columns are dropped for every subject, survivors are scaled by 1 / (1 - p)."""
    dropout = BatchwiseDropout(0.25).train()
    torch.manual_seed(0)
    out = dropout(torch.ones(5, 4000))
    assert all(torch.equal(out[0], row) for row in out)
    values = out.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 4 / 3]))
    assert (out[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(out, dropout(torch.ones(5, 4000)))


def test_elementwise_mode_draws_a_mask_for_each_subject() -> None:
    """The switch changes only the sharing: same rate, same scale, independent rows."""
    dropout = BatchwiseDropout(0.2, batchwise=False).train()
    torch.manual_seed(0)
    out = dropout(torch.ones(50, 401))
    assert not torch.equal(out[0], out[1])
    assert (out == 0).float().mean().item() == pytest.approx(0.2, abs=0.015)
    assert out.mean().item() == pytest.approx(1.0, abs=0.015)
    both_dropped = ((out[:-1] == 0) & (out[1:] == 0)).float().mean().item()
    assert both_dropped == pytest.approx(0.04, abs=0.01)  # independent between subjects


def test_dropout_is_seeded_off_in_eval_and_checked() -> None:
    """S-20, S-35: torch's own seed decides, eval is the identity, p = 1 is refused."""
    dropout = BatchwiseDropout(0.5)
    x = normal(3, 100)
    torch.manual_seed(4)
    first = dropout(x)
    torch.manual_seed(4)
    assert torch.equal(first, dropout(x))
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(BatchwiseDropout(0.0)(x), x)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        BatchwiseDropout(1.0)


def test_projection_heads_have_the_studys_sizes() -> None:
    """STUDY.md section 3: ECG head 164,224 and text head 229,760 parameters at 128 dimensions."""
    sizes = [
        sum(p.numel() for p in ProjectionHead(n_in, 256, 128).parameters()) for n_in in (512, 768)
    ]
    assert sizes == [164_224, 229_760]
    assert ProjectionHead(768)(normal(2, 768)).shape == (2, 512)


def test_risk_head_gives_flat_scores_and_compares_twins_fairly() -> None:
    """R-1, S-18: (B,) and not (B, 1); identical subjects get one score while training."""
    head = RiskHead().train()
    twins = normal(1, 512).repeat(4, 1)
    scores = head(twins)
    assert scores.shape == (4,)
    assert torch.equal(scores, scores[0].expand(4))
    assert head(normal(1, 512)).shape == (1,)


# ---- whole models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENCODERS)
def test_alignment_model_gives_512_dimensions_on_both_sides(kind: str) -> None:
    """Shapes by default, and with the study's 128 dimensions."""
    x, text = normal(3, 12, 64), normal(3, 768)
    out = build_alignment_model(kind, length=64)(x, text)
    assert [tuple(v.shape) for v in out] == [(3, 512), (3, 512), (3, 512), (3, 12, 64)]
    small = build_alignment_model(kind, length=64, shared=128, text_dim=32)(x, normal(3, 32))
    assert small.e_ecg.shape == small.e_text.shape == (3, 128)
    with pytest.raises(InputError, match="one row per ECG"):
        build_alignment_model(kind, length=64)(x, text[:2])


def test_lead_scale_passes_through_whole_models() -> None:
    """Alignment and risk model hand the scale to the encoder."""
    x, scale = normal(2, 12, 64), torch.full((2, 12), 0.2)
    model = build_alignment_model("cnn", length=64, lead_scale=True).eval()
    risk = risk_model_from(model).eval()
    assert not torch.equal(
        model(x, normal(2, 768), scale).z_ecg, model(x, normal(2, 768), 3 * scale).z_ecg
    )
    assert not torch.equal(risk(x, scale).log_risk, risk(x, 3 * scale).log_risk)


@pytest.mark.parametrize("build", [build_alignment_model, build_risk_model])
def test_the_seed_decides_and_the_global_state_is_left_alone(build: object) -> None:
    """Equal seeds give equal weights whatever was drawn before; the global generator is untouched."""
    assert callable(build)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build("dual_attention", length=64, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(10)
    second = build("dual_attention", length=64, seed=5).state_dict()
    other = build("dual_attention", length=64, seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.stem.conv1.weight"], other["encoder.stem.conv1.weight"])


def test_fine_tuning_starts_from_copies() -> None:
    """R-10: what a fold learns never reaches the pretrained model or another fold."""
    pretrained = build_alignment_model("cnn", length=64)
    fold, other = risk_model_from(pretrained, seed=1), risk_model_from(pretrained, seed=1)
    optimizer = torch.optim.SGD(fold.parameters(), lr=0.1)
    out = fold(normal(4, 12, 64))
    (out.log_risk.sum() + out.reconstruction.square().mean()).backward()
    optimizer.step()
    for name, value in pretrained.encoder.state_dict().items():
        assert torch.equal(value, other.encoder.state_dict()[name])
    for part in ("encoder.stem.weight", "decoder.project.weight"):
        assert not torch.equal(fold.state_dict()[part], other.state_dict()[part])


def test_one_switch_makes_a_whole_risk_model_batchwise() -> None:
    """S-19: identical subjects in one batch give equal training outputs (to rounding, which the row moves)."""
    model = build_risk_model("dual_attention", length=64).train()
    twins = normal(1, 12, 64).repeat(8, 1, 1)
    torch.manual_seed(0)
    set_batchwise_dropout(model, True)
    log_risk = model(twins).log_risk
    assert log_risk.max() - log_risk.min() < 1e-4  # a row's sum hangs on its place in the batch
    set_batchwise_dropout(model, False)
    log_risk = model(twins).log_risk
    assert log_risk.max() - log_risk.min() > 1e-2


# ---- weights on disk ------------------------------------------------------------------------------


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    """Parameters, batch statistics and the configuration survive; the length is added."""
    model = build_alignment_model("cnn", length=64, seed=1)
    model(normal(4, 12, 64), normal(4, 768))  # moves the batch statistics
    path = tmp_path / "weights" / "model.safetensors"
    save_weights(model, path, {"encoder": "cnn", "seed": 1})
    assert read_config(path) == {"encoder": "cnn", "seed": 1, "length": 64}
    other = build_alignment_model("cnn", length=64, seed=2)
    assert load_weights(other, path)["encoder"] == "cnn"
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_weights_of_another_length_are_refused(tmp_path: Path) -> None:
    """S-39: weights for 96 samples do not go into a network for 64; the remedy is named."""
    path = tmp_path / "model.safetensors"
    save_weights(build_encoder("dual_attention", length=96), path, {})
    with pytest.raises(InputError, match="build it with length=96"):
        load_weights(build_encoder("dual_attention", length=64), path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """The first tensor that differs is named, and nothing is loaded."""
    path = tmp_path / "model.safetensors"
    save_weights(build_encoder("cnn", length=64), path, {"encoder": "cnn"})
    target = build_encoder("dual_attention", length=64)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(InputError, match="do not fit"):
        load_weights(target, path)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_missing_and_damaged_weights_are_one_line_errors(tmp_path: Path) -> None:
    """The file is named, with what to do."""
    with pytest.raises(InputError, match="missing"):
        load_weights(build_encoder("cnn", length=64), tmp_path / "none.safetensors")
    path = tmp_path / "model.safetensors"
    save_weights(build_encoder("cnn", length=64), path, {})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(build_encoder("cnn", length=64), path)
