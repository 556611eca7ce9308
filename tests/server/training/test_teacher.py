"""The teacher follows as configured, and never changes the student."""

from __future__ import annotations

import pytest
import torch

from server.training.frozen import freeze_vehicle_part
from server.training.teacher import Teacher, TeacherConfig
from shared_models.detectors import build
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import InvalidValueError


@pytest.fixture
def student() -> AnchorDetector:
    detector = build("second_iou", "tiny", seed=1).requires_grad_(True)
    assert isinstance(detector, AnchorDetector)
    freeze_vehicle_part(detector)
    return detector


def moved(student: AnchorDetector, by: float) -> None:
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter.add_(by)
        for name, buffer in student.named_buffers():
            if "running_mean" in name and not name.startswith(student.vehicle_parts):
                buffer.add_(by)


def trained(detector: AnchorDetector) -> torch.Tensor:
    return dict(detector.named_parameters())["dense_head.conv_cls.weight"].detach().clone()


def test_the_first_steps_are_a_plain_mean(student: AnchorDetector) -> None:
    """With decay 1 - 1/(t + 1), the teacher after t steps is the mean of the first weights and t students."""
    teacher, start = Teacher(student, TeacherConfig()), trained(student)
    for step in (1, 2, 3):
        moved(student, 1.0)
        teacher.follow(student, step)
    expected = start + (0 + 1 + 2 + 3) / 4
    assert torch.allclose(trained(teacher.detector), expected, atol=1e-5)


def test_later_steps_use_the_configured_decay(student: AnchorDetector) -> None:
    teacher, start = Teacher(student, TeacherConfig(decay=0.9)), trained(student)
    moved(student, 1.0)
    teacher.follow(student, 1000)
    assert torch.allclose(trained(teacher.detector), start + 0.1, atol=1e-6)
    buffers = dict(teacher.detector.named_buffers())
    name = next(n for n in buffers if n.startswith("backbone_2d") and n.endswith("running_mean"))
    assert torch.allclose(buffers[name], torch.full_like(buffers[name], 0.1), atol=1e-6)


def test_statistics_can_be_the_students(student: AnchorDetector) -> None:
    teacher = Teacher(student, TeacherConfig(decay=0.9, statistics="student"))
    moved(student, 1.0)
    teacher.follow(student, 1000)
    mine, theirs = dict(teacher.detector.named_buffers()), dict(student.named_buffers())
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_fixed_teacher_stays(student: AnchorDetector) -> None:
    teacher, start = Teacher(student, TeacherConfig(kind="fixed")), trained(student)
    moved(student, 1.0)
    teacher.follow(student, 1)
    assert torch.equal(trained(teacher.detector), start)
    assert teacher.gap(student) == pytest.approx(1.0, abs=1e-5)


def test_the_vehicle_part_stays_the_same_to_the_bit(student: AnchorDetector) -> None:
    teacher = Teacher(student, TeacherConfig())
    moved(student, 0.5)
    teacher.follow(student, 1)
    assert teacher.detector.eval().backbone_hash == student.eval().backbone_hash


def test_state_and_errors(student: AnchorDetector) -> None:
    teacher, other = Teacher(student, TeacherConfig()), Teacher(student, TeacherConfig())
    moved(student, 1.0)
    teacher.follow(student, 1)
    other.load_state(teacher.state())
    assert torch.equal(trained(other.detector), trained(teacher.detector))
    with pytest.raises(InvalidValueError, match=r"TeacherConfig\.decay"):
        TeacherConfig(decay=1.5)


def test_statistics_before_the_cut_follow_where_that_part_is_trained() -> None:
    """3DIoUMatch trains the whole detector; a teacher with its weights and old statistics would be another network."""
    whole = build("second_iou", "tiny", seed=1).requires_grad_(True)
    assert isinstance(whole, AnchorDetector)
    teacher = Teacher(whole, TeacherConfig())
    name = next(n for n, _ in whole.named_buffers() if n.startswith("backbone_3d") and n.endswith("running_mean"))
    with torch.no_grad():
        dict(whole.named_buffers())[name].add_(1.0)
    before = dict(teacher.detector.named_buffers())[name].clone()
    teacher.follow(whole, 1)
    assert torch.allclose(dict(teacher.detector.named_buffers())[name], before + 0.5, atol=1e-6)
