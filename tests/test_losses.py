"""Losses: reference values, invariances, stress, refusals (trust list of the survival anchors)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.hazard_regression import PHReg
from torchsurv.loss.cox import neg_partial_log_likelihood

from ecgrepro.errors import InputError
from ecgrepro.losses import (
    cosine_pairs,
    cosine_positive,
    cox_nll,
    reconstruction_loss,
    soft_infonce,
)
from ecgrepro.models import build_risk_model

THETA = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64)
EVENT = torch.tensor([1, 0, 1, 1])
TIME = torch.tensor([2.0, 3.0, 1.0, 2.0])


def reference(theta: np.ndarray, event: np.ndarray, time: np.ndarray, ties: str) -> float:
    """Return the summed loss by its definition, in extended precision, shifted per risk set."""
    theta = theta.astype(np.longdouble)
    total = np.longdouble(0.0)
    for moment in np.unique(time[event == 1]):
        at_risk = theta[time >= moment]
        tied = theta[(time == moment) & (event == 1)]
        top = at_risk.max()
        risk_sum, tied_sum = np.exp(at_risk - top).sum(), np.exp(tied - top).sum()
        for rank, value in enumerate(tied):
            share = np.longdouble(rank) / len(tied) if ties == "efron" else np.longdouble(0)
            # With one dominating hazard the plain difference is exact to extended precision.
            total += top + np.log(risk_sum - share * tied_sum) - value
    return float(total)


def simulated(n: int, seed: int, distinct: int | None = None) -> tuple[torch.Tensor, ...]:
    """Return float64 scores, events and times; few distinct times make ties."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(n, generator=generator, dtype=torch.float64)
    event = torch.rand(n, generator=generator) < 0.4
    time = torch.rand(n, generator=generator, dtype=torch.float64) * 1000
    if distinct is not None:
        time = (time / 1000 * distinct).floor()
    event[0] = True
    return theta, event, time


@pytest.mark.parametrize(
    ("ties", "reduction", "value"),
    [
        ("breslow", "sum", 3.0656915),
        ("breslow", "mean", 1.0218972),
        ("efron", "sum", 2.5957588),
        ("efron", "mean", 0.8652529),
    ],
)
def test_cox_reference_values_of_the_facts_sheet(ties: str, reduction: str, value: float) -> None:
    """STUDY.md section 8; R-9: ties by equal times, and the mean is per event."""
    assert cox_nll(THETA, EVENT, TIME, ties, reduction).item() == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("scale", [0.0, 10.0, 18.0, 30.0, 100.0, 120.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_censored_subject_with_a_huge_score_does_not_disturb_later_risk_sets(
    scale: float, dtype: torch.dtype
) -> None:
    """S-12, S-13: risk sets far below the global maximum keep their value and their gradient."""
    theta = torch.tensor([scale, 0.0, 0.0], dtype=dtype, requires_grad=True)
    loss = cox_nll(theta, torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 3.0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2) / 2, rel=1e-6)
    torch.testing.assert_close(theta.grad, torch.tensor([0.0, -0.25, 0.25], dtype=dtype))


def test_the_forty_point_score_of_the_audit() -> None:
    """S-12: theta (40, 0, 0, 0) gives 0.597, not 14.39."""
    theta = torch.tensor([40.0, 0.0, 0.0, 0.0])
    loss = cox_nll(theta, torch.tensor([1, 1, 1, 0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert loss.item() == pytest.approx((math.log(3) + math.log(2)) / 3, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(
        st.tuples(
            st.floats(-30, 30, allow_nan=False),
            st.booleans(),
            st.integers(min_value=0, max_value=5),
        ),
        min_size=1,
        max_size=25,
    ),
    ties=st.sampled_from(["efron", "breslow"]),
)
def test_cox_equals_its_definition(data: list[tuple[float, bool, int]], ties: str) -> None:
    """R-9: any scores, any pattern of ties and censoring."""
    theta, event, time = (np.array(column) for column in zip(*data, strict=True))
    ours = cox_nll(
        torch.from_numpy(theta), torch.from_numpy(event), torch.from_numpy(time), ties, "sum"
    )
    expected = reference(theta, event.astype(int), time, ties)
    assert ours.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("scale", [1, 10, 75, 100, 1000])
@pytest.mark.parametrize("distinct", [None, 7])
def test_float32_stays_exact_when_scores_are_huge(
    ties: str, scale: int, distinct: int | None
) -> None:
    """R-9: theta times 1 to 1000 in float32, value and gradient finite and right.

    At 75 the range of the scores is just inside, at 100 just outside, what is summed directly.
    """
    theta, event, time = simulated(300, seed=3, distinct=distinct)
    single = (theta * scale).float().requires_grad_()
    loss = cox_nll(single, event, time, ties)
    loss.backward()
    exact = reference(single.detach().numpy(), event.numpy().astype(int), time.numpy(), ties)
    assert loss.item() == pytest.approx(exact / int(event.sum()), rel=1e-6)
    double = single.detach().double().requires_grad_()
    cox_nll(double, event, time, ties).backward()
    assert torch.isfinite(single.grad).all()
    torch.testing.assert_close(single.grad, double.grad.float())


def test_large_tie_group_that_dominates_its_risk_set_has_a_finite_gradient() -> None:
    """R-9: everyone dies at once; Efron's fraction comes close to 1."""
    theta = torch.linspace(-50, 50, 2000).requires_grad_()
    loss = cox_nll(theta, torch.ones(2000), torch.ones(2000), reduction="sum")
    loss.backward()
    exact = reference(theta.detach().numpy(), np.ones(2000), np.ones(2000), "efron")
    assert loss.item() == pytest.approx(exact, rel=1e-6)
    assert torch.isfinite(theta.grad).all()
    assert theta.grad.sum().item() == pytest.approx(0.0, abs=2e-3)  # invariant under a shift


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_invariances(ties: str) -> None:
    """Shift of the scores, order of subjects, increasing change of the times (S-12, R-9)."""
    theta, event, time = simulated(60, seed=1, distinct=9)
    loss = cox_nll(theta, event, time, ties)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    for other in (
        cox_nll(theta + 1234.5, event, time, ties),
        cox_nll(theta[order], event[order], time[order], ties),
        cox_nll(theta, event, torch.exp(time / 3) + 5, ties),
    ):
        torch.testing.assert_close(other, loss, rtol=1e-10, atol=1e-10)


def test_duplicated_cohort_adds_d_log_two_under_breslow() -> None:
    """Each risk set doubles, so each event's loss grows by log 2; sums double beside that."""
    theta, event, time = simulated(40, seed=5)
    once = cox_nll(theta, event, time, "breslow")
    twice = cox_nll(theta.repeat(2), event.repeat(2), time.repeat(2), "breslow")
    torch.testing.assert_close(twice, once + math.log(2))


def test_without_tied_events_both_conventions_agree() -> None:
    """Ties matter only between events: censored subjects at the same time change nothing."""
    theta, event, _ = simulated(50, seed=8)
    time = torch.arange(50, dtype=torch.float64)
    first_event = int(event.nonzero()[0])
    event[first_event + 1] = False
    time[first_event + 1] = time[first_event]
    torch.testing.assert_close(
        cox_nll(theta, event, time, "efron"), cox_nll(theta, event, time, "breslow")
    )


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_gradient_check_in_float64(ties: str) -> None:
    """Analytical and numerical gradients agree, with ties and censoring."""
    theta, event, time = simulated(12, seed=4, distinct=3)
    assert torch.autograd.gradcheck(
        lambda value: cox_nll(value, event, time, ties), (theta.requires_grad_(),)
    )


def test_event_types_are_equivalent() -> None:
    """Byte or integer events are not used as indices (torchsurv issue 117)."""
    theta, event, time = simulated(30, seed=6, distinct=5)
    losses = [
        cox_nll(theta, event.to(kind), time).item()
        for kind in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float32)
    ]
    assert losses == [losses[0]] * len(losses)


def test_a_batch_without_events_gives_a_zero_connected_to_the_graph() -> None:
    """S-22, R-9: a detached zero would hang or crash the optimiser step."""
    theta = torch.randn(5, requires_grad=True)
    loss = cox_nll(theta, torch.zeros(5), torch.arange(5.0))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(theta.grad, torch.zeros(5))


def test_a_single_subject_with_an_event_carries_no_information() -> None:
    """Its risk set is itself, so the loss and its gradient are 0."""
    theta = torch.tensor([3.0], requires_grad=True)
    loss = cox_nll(theta, torch.ones(1), torch.ones(1))
    loss.backward()
    assert loss.item() == 0.0
    assert theta.grad.item() == 0.0


@pytest.mark.parametrize(
    ("theta", "event", "time", "message"),
    [
        (torch.zeros(3, 1), torch.ones(3), torch.ones(3), r"squeeze"),
        (torch.zeros(3, 1), torch.ones(3, 1), torch.ones(3, 1), r"squeeze"),
        (torch.zeros(3), torch.ones(3, 1), torch.ones(3), r"\(3, 1\)"),
        (torch.zeros(3), torch.ones(2), torch.ones(3), r"\(2,\)"),
        (torch.zeros(0), torch.ones(0), torch.ones(0), "at least 1"),
        (torch.tensor([0.0, math.nan]), torch.ones(2), torch.ones(2), "log_risk of subject 1"),
        (torch.zeros(2), torch.ones(2), torch.tensor([1.0, math.inf]), "time of subject 1"),
        (torch.zeros(2), torch.ones(2), torch.tensor([1.0, math.nan]), "time of subject 1"),
        (torch.zeros(2), torch.ones(2), torch.tensor([-1.0, 1.0]), "not negative"),
        (torch.zeros(2), torch.tensor([1, 2]), torch.ones(2), "event of subject 1 is 2"),
        (torch.zeros(2), torch.tensor([0.5, 1]), torch.ones(2), "event of subject 0 is 0.5"),
        (torch.zeros(2, dtype=torch.int64), torch.ones(2), torch.ones(2), "floating-point"),
    ],
)
def test_cox_refuses_bad_input(
    theta: torch.Tensor, event: torch.Tensor, time: torch.Tensor, message: str
) -> None:
    """R-1: shapes that would broadcast to (n, n) are refused, as are impossible values."""
    with pytest.raises(InputError, match=message):
        cox_nll(theta, event, time)


def test_cox_refuses_a_mistyped_option() -> None:
    """`ties` and `reduction` are checked."""
    with pytest.raises(InputError, match="efron"):
        cox_nll(THETA, EVENT, TIME, ties="effron")
    with pytest.raises(InputError, match="mean"):
        cox_nll(THETA, EVENT, TIME, reduction="means")


def test_the_loss_of_a_risk_model_depends_on_the_labels() -> None:
    """R-1: with broadcasting the event indicator cancelled and all labels gave one value."""
    model = build_risk_model("cnn", length=64).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        log_risk = model(torch.randn(8, 12, 64, generator=generator)).log_risk
    time = torch.arange(1.0, 9.0)
    labels = [torch.tensor(row) for row in ([1, 0] * 4, [0, 1] * 4, [1] * 8)]
    losses = [cox_nll(log_risk, event, time, reduction="sum").item() for event in labels]
    assert len({round(loss, 4) for loss in losses}) == 3
    for loss, event in zip(losses, labels, strict=True):
        expected = reference(log_risk.numpy(), event.numpy(), time.numpy(), "efron")
        assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_equals_statsmodels(ties: str) -> None:
    """PHReg's log partial likelihood at a given coefficient."""
    theta, event, time = simulated(200, seed=7, distinct=20)
    fit = PHReg(time.numpy(), theta.numpy()[:, None], status=event.numpy().astype(int), ties=ties)
    assert cox_nll(0.7 * theta, event, time, ties, "sum").item() == pytest.approx(
        -fit.loglike(np.array([0.7])), rel=1e-10
    )


@pytest.mark.filterwarnings("ignore:Ties in `time` detected")
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_equals_torchsurv_where_that_is_exact(ties: str) -> None:
    """Small scores, to its float32; its sum, because its mean divides by distinct event times."""
    theta, event, time = simulated(200, seed=9, distinct=30)
    theirs = neg_partial_log_likelihood(theta, event, time, ties_method=ties, reduction="sum")
    assert cox_nll(theta, event, time, ties, "sum").item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_whas500_coefficients_equal_scikit_survival(ties: str) -> None:
    """The minimiser of the loss on real data (500 patients, 215 deaths) is the Cox estimate."""
    datasets = pytest.importorskip("sksurv.datasets")
    linear_model = pytest.importorskip("sksurv.linear_model")
    frame, outcome = datasets.load_whas500()
    columns = ["age", "bmi", "hr", "sysbp"]
    x = frame[columns].to_numpy(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    fitted = linear_model.CoxPHSurvivalAnalysis(ties=ties, tol=1e-12).fit(x, outcome)
    event = torch.from_numpy(outcome["fstat"].copy())
    time = torch.from_numpy(outcome["lenfol"].copy())
    beta = torch.zeros(len(columns), dtype=torch.float64, requires_grad=True)
    design = torch.from_numpy(x)
    search = torch.optim.LBFGS(
        [beta],
        max_iter=200,
        tolerance_grad=1e-10,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        search.zero_grad()
        loss = cox_nll(design @ beta, event, time, ties)
        loss.backward()
        return loss

    search.step(closure)
    np.testing.assert_allclose(beta.detach().numpy(), fitted.coef_, atol=1e-5)


def test_cox_of_a_hundred_thousand_is_right_and_needs_no_matrix() -> None:
    """O(n) memory: a risk-set matrix would take 80 GB; the first and last terms are checked by hand."""
    theta, event, time = simulated(100_000, seed=10)
    theta.requires_grad_()
    loss = cox_nll(theta, event, time, reduction="sum")
    loss.backward()
    assert theta.grad.sum().item() == pytest.approx(0.0, abs=1e-6)
    order = np.argsort(-time.numpy())
    sorted_theta = theta.detach().numpy()[order].astype(np.longdouble)
    terms = np.log(np.cumsum(np.exp(sorted_theta))) - sorted_theta
    assert loss.item() == pytest.approx(float(terms[event.numpy()[order]].sum()), rel=1e-12)


# ---- alignment ------------------------------------------------------------------------------------


def test_cosine_positive_is_zero_for_a_collapsed_embedding() -> None:
    """S-16: constant projectors reach the optimum, so this value alone proves nothing."""
    constant = torch.ones(6, 4)
    assert cosine_positive(constant, 3 * constant).item() == pytest.approx(0.0, abs=1e-6)
    assert cosine_positive(constant, -constant).item() == pytest.approx(2.0, abs=1e-6)


def test_pairs_and_softmax_punish_collapse() -> None:
    """S-16: the two losses with negatives tell a collapsed embedding from an aligned one."""
    aligned, constant, ids = torch.eye(6), torch.ones(6, 6), torch.arange(6)
    for loss in (cosine_pairs, soft_infonce):
        assert loss(constant, constant, ids) > loss(aligned, aligned, ids) + 0.5


def test_cosine_pairs_by_hand() -> None:
    """Two records share a text; the third differs and lies at 60 degrees."""
    e_ecg = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.5, math.sqrt(0.75)]])
    e_text = e_ecg.clone()
    ids = torch.tensor([4, 4, 9])
    # positives: 4 pairs of the first two and the third with itself, all cos 1; negatives: 4 with cos 0.5
    assert cosine_pairs(e_ecg, e_text, ids, margin=0.2).item() == pytest.approx(0.3, abs=1e-6)
    assert cosine_pairs(e_ecg, e_text, ids, margin=0.6).item() == pytest.approx(0.0, abs=1e-6)


def test_one_text_only_leaves_the_positives() -> None:
    """A batch of one text (41 % of records are NORM alone) has no negatives and stays finite."""
    generator = torch.Generator().manual_seed(0)
    e_ecg = torch.randn(4, 3, generator=generator)
    ids = torch.zeros(4, dtype=torch.int64)
    cosine = torch.nn.functional.cosine_similarity(e_ecg[:, None], e_ecg[None], dim=2)
    assert cosine_pairs(e_ecg, e_ecg, ids).item() == pytest.approx(
        1 - cosine.mean().item(), abs=1e-6
    )


def test_soft_infonce_without_shared_texts_is_infonce() -> None:
    """Equal to cross-entropy with the diagonal as target, both ways."""
    generator = torch.Generator().manual_seed(1)
    e_ecg, e_text = torch.randn(2, 7, 5, generator=generator)
    unit = torch.nn.functional.normalize
    logits = unit(e_ecg, dim=1) @ unit(e_text, dim=1).T / 0.1
    both = [torch.nn.functional.cross_entropy(m, torch.arange(7)) for m in (logits, logits.T)]
    ours = soft_infonce(e_ecg, e_text, torch.arange(7), temperature=0.1)
    torch.testing.assert_close(ours, sum(both) / 2)


def test_equal_texts_are_never_negatives() -> None:
    """Records of one text attract each other: their cosine has no repelling gradient."""
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(3, 4, generator=generator)
    e_text = base[[0, 0, 1, 2]]  # the first two records share a text, hence an embedding
    for loss, ids in ((soft_infonce, [7, 7, 1, 2]), (cosine_pairs, [7, 7, 1, 2])):
        together = e_text.clone()
        apart = e_text.clone()
        apart[1] = base[1]  # the second record sits on another text instead
        labels = torch.tensor(ids)
        assert loss(together, e_text, labels) < loss(apart, e_text, labels)
    shared = soft_infonce(e_text * 50, e_text * 50, torch.tensor([7, 7, 1, 2]), temperature=0.01)
    assert shared.item() == pytest.approx(math.log(2) / 2, abs=0.01)  # entropy of the targets


def test_alignment_losses_refuse_what_would_broadcast() -> None:
    """R-13: embeddings of the same records, one text id a record."""
    generator = torch.Generator().manual_seed(3)
    e_ecg, e_text = torch.randn(2, 5, 8, generator=generator)
    ids = torch.tensor([0, 1, 1, 2, 3])
    with pytest.raises(InputError, match="same shape"):
        cosine_positive(e_ecg, e_text[:4])
    with pytest.raises(InputError, match="one id per record"):
        soft_infonce(e_ecg, e_text, ids[:4])
    with pytest.raises(InputError, match="temperature"):
        soft_infonce(e_ecg, e_text, ids, 0.0)


# ---- reconstruction ----------------------------------------------------------


def test_reconstruction_ignores_the_padding() -> None:
    """S-34: the margin of zeros does not enter the loss."""
    target = torch.zeros(2, 12, 1024)
    target[..., 12:1012] = 1.0
    wrong_margin = target.clone()
    wrong_margin[..., :12] = 99.0
    valid = slice(12, 1012)
    assert reconstruction_loss(wrong_margin, target, valid).item() == 0.0
    assert reconstruction_loss(torch.zeros_like(target), target, valid).item() == 1.0
    assert reconstruction_loss(wrong_margin, target).item() > 1.0


def test_reconstruction_refuses_shapes_that_would_broadcast() -> None:
    """(B, 12, T) against (B, 1, T) is an error, not a mean over a broadcast."""
    with pytest.raises(InputError, match="differ in shape"):
        reconstruction_loss(torch.zeros(2, 12, 8), torch.zeros(2, 1, 8))
