"""Attribution on models whose answer is known: linear, additive, interacting, and small networks."""

import copy
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
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


@pytest.mark.parametrize(("window", "stride"), [(8, 8), (10, 4), (40, 1), (1, 1)])
def test_window_occlusion_of_a_linear_model_is_exact(window: int, stride: int) -> None:
    result = attribution.window_occlusion(linear, X, window, stride, 100.0)
    starts = (result.start_ms / 10).round().astype(int)
    share = (W * X).sum(1, keepdim=True)
    expected = torch.stack([share[..., s : s + window].sum(-1) for s in starts], dim=-1)
    torch.testing.assert_close(result.change, expected, atol=1e-4, rtol=1e-5)
    assert result.change.shape == (B, 1, len(starts))
    assert result.start_ms[0] == 0
    assert result.stop_ms[-1] == pytest.approx(T * 10.0)  # the end is covered
    assert result.stop_ms - result.start_ms == pytest.approx(window * 10.0)


def test_occlusion_is_the_difference_that_hiding_makes() -> None:
    """By the definition, on a network, and for windows as captum's own occlusion says."""
    model = Net().eval()
    with torch.no_grad():
        for lead, found in enumerate(attribution.lead_occlusion(model, X).T):
            hidden = X.clone()
            hidden[:, lead] = 0
            torch.testing.assert_close(found, model(X) - model(hidden), atol=1e-6, rtol=1e-5)
        ours = attribution.window_occlusion(model, X, 8, 8, 100.0).change[:, 0]
        theirs = Occlusion(model).attribute(X, (LEADS, 8), strides=(LEADS, 8))[:, 0, ::8]
        torch.testing.assert_close(ours, theirs.float(), atol=1e-6, rtol=1e-5)


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
    assert attribution.lead_occlusion(either, ones).abs().max() == 0
    assert attribution.window_occlusion(either, ones, 5, 5, 100.0).change[0, 0, 0] == 1


def test_occlusion_does_not_depend_on_companions() -> None:
    """R-2: an ECG's own risk, its own attribution."""
    found = attribution.lead_occlusion(Net(), X)
    torch.testing.assert_close(found[:1], attribution.lead_occlusion(Net(), X[:1]))


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("steps", [1, 16])
def test_integrated_gradients_of_a_linear_model_are_exact(steps: int) -> None:
    result = attribution.integrated_gradients(linear, X, steps)
    torch.testing.assert_close(result.values, W * X, atol=1e-5, rtol=1e-5)
    assert result.complete.all()


def test_integrated_gradients_of_a_product_are_exact() -> None:
    """f = a * b from 0: each factor gets half of the product (closed form of the path integral)."""

    def product(x: Tensor) -> Tensor:
        return x[:, 0, 0] * x[:, 1, 0]

    values = attribution.integrated_gradients(product, X, 2).values
    half = product(X) / 2
    torch.testing.assert_close(values[:, 0, 0], half)
    torch.testing.assert_close(values[:, 1, 0], half)
    assert values[:, 2:].abs().max() == 0


def test_completeness_holds_for_a_network_and_is_reported_where_it_does_not() -> None:
    model = Net()
    x = 3 * X
    good = attribution.integrated_gradients(model, x, 64)
    with torch.no_grad():
        model.eval()
        change = model(x) - model(torch.zeros_like(x))
    torch.testing.assert_close(good.change, change, atol=1e-5, rtol=1e-5)
    assert good.complete.all()

    def step(
        x: Tensor,
    ) -> Tensor:  # all of the change happens where no point of the quadrature lies
        return torch.sigmoid(2000 * (x.mean((1, 2)) - 0.123)) * 5

    bad = attribution.integrated_gradients(step, torch.ones(B, LEADS, T), 4)
    assert not bad.complete.any()
    assert (bad.values.sum((1, 2)) - bad.change).abs().min() > 1


def test_gradients_belong_to_their_own_lead_and_subject() -> None:
    """S-33: the study reads the gradient of lead 0 whatever lead it draws; R-2: a batch mate changes nothing."""
    for lead in (0, 7, 11):
        values = attribution.integrated_gradients(
            lambda x, i=lead: (x[:, i] ** 2).sum(1), X, 8
        ).values
        expected = torch.zeros_like(X)
        expected[:, lead] = X[:, lead] ** 2
        torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        together = attribution.integrated_gradients(Net(), X, 8).values
    alone = attribution.integrated_gradients(Net(), X[:1], 8).values
    torch.testing.assert_close(alone, together[:1], atol=1e-6, rtol=1e-5)


# ---------------------------------------------------------------- the model is left alone


def explain_all(model: nn.Module) -> list[Tensor]:
    """Every function once."""
    return [
        attribution.lead_occlusion(model, X),
        attribution.window_occlusion(model, X, 10, 10, 100.0).change,
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
    assert model.training


@pytest.mark.parametrize("shape", ["(B, 1)", "scalar"])
def test_outputs_of_another_shape_are_refused(shape: str) -> None:
    """R-1: (B, 1) would broadcast silently to (B, B)."""

    def wrong(x: Tensor) -> Tensor:
        return x.sum((1, 2))[:, None] if shape == "(B, 1)" else x.sum()

    for function in (attribution.lead_occlusion, attribution.integrated_gradients):
        with pytest.raises(InputError, match="one log risk each"):
            function(wrong, X)


@pytest.mark.parametrize("x", [X[0], torch.full_like(X, math.nan)])
def test_bad_input_is_one_sentence(x: Tensor) -> None:
    for function in (attribution.lead_occlusion, attribution.integrated_gradients):
        with pytest.raises(InputError, match="finite ECGs"):
            function(linear, x)


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
    slopes = attribution.randomised_weights_check(gradients, model, x, seed=0)
    assert slopes.shape == (5, 6)
    assert slopes.mean().abs() < 0.3

    def edges(model: nn.Module, x: Tensor) -> Tensor:
        return torch.diff(x, dim=2)

    fake = attribution.randomised_weights_check(edges, model, x, seed=0)
    assert fake == pytest.approx(1.0)


def test_randomising_is_reproducible_and_leaves_the_model_alone() -> None:
    model = Net()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    first, second, other = (
        attribution.randomised_weights_check(gradients, model, X, seed=s, draws=2)
        for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_rank_correlation_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    a, b = random(3, 50), random(3, 50, seed=9).round()  # with ties
    expected = [spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert attribution._rank_correlation(a, b).numpy() == pytest.approx(np.array(expected))
