"""Attribution on models whose answer is known: linear, additive, interacting, and small networks."""

import copy
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ecgrepro import attribution
from ecgrepro.errors import InputError

B, LEADS, T = 3, 12, 40


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = random(B, LEADS, T)
W = random(LEADS, T, seed=1)


def linear(x: Tensor) -> Tensor:
    """log risk = sum of W * x + 3."""
    return (W.to(x) * x).sum(dim=(1, 2)) + 3


class Net(nn.Module):
    """A small network with everything that evaluation mode must hold still."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(LEADS, 8, 5, padding=2),
            nn.BatchNorm1d(8),
            nn.GELU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool1d(4),
            nn.Flatten(),
            nn.Linear(32, 1),
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(-1)


class Output(NamedTuple):
    """As a risk model returns it."""

    log_risk: Tensor
    reconstruction: Tensor


class Wrapped(nn.Module):
    """A model with a structured output."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Output:
        return Output(self.net(x), x)


# ---------------------------------------------------------------- occlusion


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_lead_occlusion_of_a_linear_model_is_exact(baseline: float) -> None:
    expected = (W * (X - baseline)).sum(dim=2)
    got = attribution.lead_occlusion(linear, X, baseline)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-5)


def test_lead_occlusion_takes_a_baseline_ecg_and_keeps_its_sign() -> None:
    """Positive means: what is there raises the risk."""
    torch.testing.assert_close(
        attribution.lead_occlusion(linear, X, X[0]), (W * (X - X[0])).sum(2), atol=1e-4, rtol=1e-5
    )
    ones = torch.ones(1, LEADS, T)
    assert (attribution.lead_occlusion(lambda x: x[:, 4].sum(1), ones) > 0).tolist() == [
        [lead == 4 for lead in range(LEADS)]
    ]


@pytest.mark.parametrize("per_lead", [True, False])
@pytest.mark.parametrize(("window", "stride"), [(8, 8), (10, 4), (40, 1), (1, 1)])
def test_window_occlusion_of_a_linear_model_is_exact(
    per_lead: bool, window: int, stride: int
) -> None:
    result = attribution.window_occlusion(linear, X, window, stride, 100.0, per_lead=per_lead)
    starts = (result.start_ms / 10).round().astype(int)
    share = W * X if per_lead else (W * X).sum(1, keepdim=True)
    expected = torch.stack([share[..., s : s + window].sum(-1) for s in starts], dim=-1)
    torch.testing.assert_close(result.change, expected, atol=1e-4, rtol=1e-5)
    assert result.change.shape == (B, LEADS if per_lead else 1, len(starts))
    assert result.start_ms[0] == 0
    assert result.stop_ms[-1] == pytest.approx(T * 10.0)  # the end is covered
    assert result.stop_ms - result.start_ms == pytest.approx(window * 10.0)


def test_window_times_count_from_the_recording() -> None:
    """1,000 samples padded to 1,024: the padding has negative times (12 samples at 100 Hz = 120 ms)."""
    result = attribution.window_occlusion(linear, X, 4, 4, 100.0, offset=12)
    assert result.start_ms[0] == -120.0
    assert result.start_ms[3] == 0.0


def test_joint_windows_see_what_single_leads_hide() -> None:
    """Two leads that say the same thing: hiding either changes nothing, hiding both does."""

    def either(x: Tensor) -> Tensor:
        return torch.maximum(x[:, 0, :5].mean(1), x[:, 1, :5].mean(1))

    ones = torch.ones(1, LEADS, T)
    single = attribution.window_occlusion(either, ones, 5, 5, 100.0)
    joint = attribution.window_occlusion(either, ones, 5, 5, 100.0, per_lead=False)
    assert single.change.abs().max() == 0
    assert joint.change[0, 0, 0] == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 5), st.integers(0, 10_000))
def test_occlusion_does_not_depend_on_batching(batch_size: int, n: int, seed: int) -> None:
    x, model = random(n, LEADS, T, seed=seed), Net().eval()
    small = attribution.lead_occlusion(model, x, batch_size=batch_size)
    torch.testing.assert_close(small, attribution.lead_occlusion(model, x), atol=1e-5, rtol=1e-4)
    single = attribution.lead_occlusion(model, x[:1])
    torch.testing.assert_close(small[:1], single, atol=1e-5, rtol=1e-4)


def test_mask_occlusion_hides_any_region() -> None:
    masks = torch.zeros(2, LEADS, T, dtype=torch.bool)
    masks[0, 2, 5:9] = True  # the second hides nothing
    got = attribution.mask_occlusion(linear, X, masks)
    torch.testing.assert_close(got[:, 0], (W * X)[:, 2, 5:9].sum(1), atol=1e-4, rtol=1e-5)
    assert got[:, 1].abs().max() == 0


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("steps", [1, 16])
def test_integrated_gradients_of_a_linear_model_are_exact(steps: int) -> None:
    baseline = random(LEADS, T, seed=5)
    result = attribution.integrated_gradients(linear, X, baseline, steps)
    torch.testing.assert_close(result.values, W * (X - baseline), atol=1e-5, rtol=1e-5)
    assert result.complete.all()
    assert result.error.abs().max() < 1e-3


def test_integrated_gradients_of_a_product_are_exact() -> None:
    """f = a * b from 0: each factor gets half of the product (closed form of the path integral)."""

    def product(x: Tensor) -> Tensor:
        return x[:, 0, 0] * x[:, 1, 0]

    values = attribution.integrated_gradients(product, X, 0.0, 2).values
    half = product(X) / 2
    torch.testing.assert_close(values[:, 0, 0], half)
    torch.testing.assert_close(values[:, 1, 0], half)
    assert values[:, 2:].abs().max() == 0


def test_completeness_holds_for_a_network_and_is_reported_where_it_does_not() -> None:
    model = Net()
    x = 3 * X
    good = attribution.integrated_gradients(model, x, 0.0, 64)
    with torch.no_grad():
        model.eval()
        change = model(x) - model(torch.zeros_like(x))
    torch.testing.assert_close(good.change, change, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(good.values.sum((1, 2)) - change, good.error, atol=1e-4, rtol=0.0)
    assert good.complete.all()

    def step(
        x: Tensor,
    ) -> Tensor:  # all of the change happens where no point of the quadrature lies
        return torch.sigmoid(2000 * (x.sum((1, 2)) - 0.123 * X.sum((1, 2)))) * 5

    bad = attribution.integrated_gradients(step, X, 0.0, 4)
    assert not bad.complete.any()
    assert bad.error.abs().min() > 1


def test_gradient_belongs_to_its_own_lead() -> None:
    """S-33: the study reads the gradient of lead 0 whatever lead it draws."""
    for lead in (0, 7, 11):
        slope = attribution.input_gradient(lambda x, i=lead: (x[:, i] ** 2).sum(1), X)
        expected = torch.zeros_like(X)
        expected[:, lead] = 2 * X[:, lead]
        torch.testing.assert_close(slope, expected)


def test_gradients_are_each_subjects_own() -> None:
    """A batch mate changes nothing (R-2), and asking under no_grad works as well."""
    model = Net()
    alone = attribution.input_gradient(model, X[:1])
    with torch.no_grad():
        together = attribution.input_gradient(model, X)
    torch.testing.assert_close(alone, together[:1], atol=1e-6, rtol=1e-5)
    assert together.abs().min(dim=2).values.shape == (B, LEADS)


def test_a_constant_model_has_zero_attribution() -> None:
    def constant(x: Tensor) -> Tensor:
        return torch.full((x.shape[0],), 2.0)

    assert attribution.input_gradient(constant, X).abs().max() == 0
    assert attribution.lead_occlusion(constant, X).abs().max() == 0
    result = attribution.integrated_gradients(constant, X)
    assert result.values.abs().max() == 0
    assert result.complete.all()


# ---------------------------------------------------------------- the model is left alone


def explain_all(model: nn.Module) -> list[Tensor]:
    """Every function once."""
    return [
        attribution.lead_occlusion(model, X),
        attribution.window_occlusion(model, X, 10, 10, 100.0).change,
        attribution.input_gradient(model, X),
        attribution.integrated_gradients(model, X, steps=3).values,
    ]


def test_the_model_is_explained_in_evaluation_mode_and_found_unchanged() -> None:
    """S-33, S-14: no dropout, no moving statistics, no leftover gradients, every part in its own mode."""
    model = Net()
    model.train()
    model.body[1].eval()  # a frozen block inside a training model
    model.body[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    modes = [part.training for part in model.modules()]
    first, second = explain_all(model), explain_all(model)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)  # dropout of 0.5 would show
        assert not a.requires_grad
    assert [part.training for part in model.modules()] == modes
    assert not model.body[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


def test_modes_come_back_after_an_error() -> None:
    model = Net().train()
    with pytest.raises(RuntimeError):
        attribution.lead_occlusion(model, torch.zeros(2, 5, T))
    assert all(part.training for part in model.modules())


def test_inputs_are_unchanged() -> None:
    x = X.clone()
    explain_all(Net())
    torch.testing.assert_close(X, x, atol=0, rtol=0)
    assert not X.requires_grad


def test_structured_outputs_and_risk_functions_agree() -> None:
    """A model that returns `.log_risk`, a function made of it, and the plain network say the same."""
    model = Wrapped().train()
    plain = attribution.lead_occlusion(Net(), X)
    torch.testing.assert_close(attribution.lead_occlusion(model, X), plain)
    function = attribution.as_risk_function(model)
    torch.testing.assert_close(attribution.lead_occlusion(function, X), plain)
    torch.testing.assert_close(
        attribution.input_gradient(function, X), attribution.input_gradient(Net(), X)
    )
    assert model.training


@pytest.mark.parametrize("shape", ["(B, 1)", "scalar"])
def test_outputs_of_another_shape_are_refused(shape: str) -> None:
    """R-1: (B, 1) would broadcast silently to (B, B)."""

    def wrong(x: Tensor) -> Tensor:
        return x.sum((1, 2))[:, None] if shape == "(B, 1)" else x.sum()

    for function in (attribution.lead_occlusion, attribution.input_gradient):
        with pytest.raises(InputError, match="one log risk each"):
            function(wrong, X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[0]}, "leads, T"),
        ({"x": torch.full_like(X, math.nan)}, "NaN"),
        ({"baseline": torch.zeros(5)}, "baseline"),
    ],
)
def test_bad_input_is_one_sentence(change: dict[str, Tensor], message: str) -> None:
    arguments = {"x": X, "baseline": torch.zeros(()), **change}
    for function in (attribution.lead_occlusion, attribution.integrated_gradients):
        with pytest.raises(InputError, match=message):
            function(linear, arguments["x"], arguments["baseline"])


@pytest.mark.parametrize(
    ("window", "stride", "rate"), [(0, 1, 100.0), (41, 1, 100.0), (4, 0, 100.0), (4, 1, 0.0)]
)
def test_impossible_windows_are_refused(window: int, stride: int, rate: float) -> None:
    with pytest.raises(InputError, match="window"):
        attribution.window_occlusion(linear, X, window, stride, rate)


# ---------------------------------------------------------------- sanity check


def gradients(model: nn.Module, x: Tensor) -> Tensor:
    return attribution.integrated_gradients(model, x, steps=4).values


def test_randomised_weights_change_a_real_attribution_and_not_an_edge_detector() -> None:
    """Adebayo et al.: a map that only looks at the input passes for an explanation, and must not."""
    model = Net()
    x = random(6, LEADS, T, seed=3)
    slopes = attribution.randomised_weights_check(attribution.input_gradient, model, x, seed=0)
    assert slopes.signed.shape == (5, 6)
    assert slopes.signed.mean().abs() < 0.3

    def edges(model: nn.Module, x: Tensor) -> Tensor:
        return torch.diff(x, dim=2)

    fake = attribution.randomised_weights_check(edges, model, x, seed=0)
    assert fake.signed == pytest.approx(1.0)
    assert fake.absolute == pytest.approx(1.0)


def test_randomising_is_reproducible_and_leaves_the_model_alone() -> None:
    model = Net()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    first, second, other = (
        attribution.randomised_weights_check(gradients, model, X, seed=s, draws=2)
        for s in (1, 1, 2)
    )
    assert torch.equal(first.signed, second.signed)
    assert not torch.equal(first.signed, other.signed)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_rank_correlation_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    a, b = random(3, 50), random(3, 50, seed=9).round()  # with ties
    expected = [spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert attribution.rank_correlation(a, b).numpy() == pytest.approx(np.array(expected))


# ---------------------------------------------------------------- attention


def test_attention_entropy_of_known_maps() -> None:
    uniform, single = torch.full((2, 12, 12), 1 / 12), torch.eye(12)
    torch.testing.assert_close(attribution.attention_entropy(uniform), torch.ones(2, 12))
    torch.testing.assert_close(attribution.attention_entropy(single), torch.zeros(12))
    two = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(attribution.attention_entropy(two), torch.tensor([0.5]))
    assert attribution.attention_entropy(torch.ones(3, 1, 1)).tolist() == [[1.0]] * 3
    for bad in (torch.full((2, 2), 0.6), torch.tensor([[1.5, -0.5]])):
        with pytest.raises(InputError, match="add up to 1"):
            attribution.attention_entropy(bad)


def test_received_attention_keeps_absolute_weights() -> None:
    maps = torch.softmax(random(2, 12, 8, 8), dim=-1)
    received = attribution.received_attention(maps)
    torch.testing.assert_close(received.sum(-1), torch.ones(2, 12))
    stripes = torch.zeros(8, 8)
    stripes[:, 3] = 1
    assert attribution.received_attention(stripes).tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def test_token_windows_cover_the_input() -> None:
    """32 tokens of 1,024 samples at 100 Hz: 320 ms each; 12 samples of padding come first."""
    windows = attribution.token_windows(32, 1024, 100.0, offset=12)
    assert windows.shape == (32, 2)
    assert windows[0].tolist() == [-120.0, 200.0]
    assert windows[-1, 1] == 10_120.0
    assert (windows[1:, 0] == windows[:-1, 1]).all()
    with pytest.raises(InputError, match="divide"):
        attribution.token_windows(31, 1024, 100.0)
