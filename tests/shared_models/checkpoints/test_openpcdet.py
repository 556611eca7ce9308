"""Reading `.pth` files: good ones of several ages, wrong ones, hostile ones."""

from __future__ import annotations

import collections
import importlib.util
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared_models import checkpoints
from shared_models.checkpoints import openpcdet
from shared_models.errors import CheckpointError

SHARED = Path(os.environ.get("UPCYCLE_SHARED", Path(__file__).parents[4] / "shared"))


class Sparse(nn.Module):
    """A sparse convolution's parameter, in OpenPCDet's layout [out, kD, kH, kW, in]."""

    def __init__(self, out: int, kernel: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out, *kernel, channels))


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(Sparse(8, (3, 3, 3), 4), nn.BatchNorm1d(8))
        self.conv2 = Sparse(3, (3, 3, 3), 3)  # its shape is the same in both layouts
        self.head = nn.Linear(8, 2)


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(t.shape, generator=generator).to(t.dtype) if t.is_floating_point() else t + 3
        for name, t in Small().state_dict().items()
    }


def write(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_a_checkpoint_with_all_that_training_leaves_in_it(tmp_path: Path, is_zip: bool) -> None:
    original = state()
    content = {
        "epoch": 80,
        "it": 12,
        "version": "pcdet+0.6.0",
        "model_state": collections.OrderedDict({**original, "global_step": torch.zeros(1, dtype=torch.int64)}),
        "optimizer_state": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    }
    path = write(tmp_path / "a.pth", content, _use_new_zipfile_serialization=is_zip)
    found = checkpoints.read_openpcdet(path)
    module = Small()
    report = checkpoints.load_into(module, found, "a.pth")
    assert report == checkpoints.LoadReport(loaded=len(original), ignored=("global_step",), converted=())
    for name, tensor in original.items():
        assert torch.equal(module.state_dict()[name], tensor), name


def test_kernels_of_spconv_1_are_turned_around() -> None:
    original = state()
    old = {name: t.permute(1, 2, 3, 4, 0).contiguous() if t.ndim == 5 else t for name, t in original.items()}
    module = Small()
    report = checkpoints.load_into(module, old, "old.pth")
    assert report.converted == ("conv1.0.weight", "conv2.weight")
    for name, tensor in original.items():
        assert torch.equal(module.state_dict()[name], tensor), name


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state().items() if key != name}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (without("conv1.1.bias"), r"first missing parameter 'conv1\.1\.bias' \[8\].*1 missing, 0 extra, 0 misshapen"),
        (state() | {"tail.weight": torch.ones(2)}, r"first extra parameter 'tail\.weight' \[2\].*0 missing, 1 extra"),
        (
            state() | {"conv1.0.weight": torch.ones(9, 3, 3, 3, 4), "head.bias": torch.ones(3)},
            r"misshapen parameter 'conv1\.0\.weight': expected \[8, 3, 3, 3, 4\], got \[9, 3, 3, 3, 4\].*2 misshapen",
        ),
        (state() | {"head.bias": torch.ones(2, dtype=torch.int64)}, r"'head\.bias': expected torch\.float32"),
        (
            without("head.bias") | {"head.b": torch.ones(2)},
            r"missing parameter 'head\.bias'.*extra parameter 'head\.b'",
        ),
    ],
)
def test_the_first_misfit_is_named_and_nothing_is_loaded(changed: dict[str, Tensor], message: str) -> None:
    module = Small()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load_into(module, changed, "a.pth")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch /tmp/this-must-never-exist",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dictionary with 'model_state', got list"),
        ({"state_dict": {"a": torch.ones(1)}}, "no 'model_state' in the file; it has: state_dict"),
        ({"model_state": {}}, "must be a dictionary of tensors"),
        ({"model_state": torch.ones(3)}, "must be a dictionary of tensors, got Tensor"),
        ({"model_state": {"a": [1.0]}}, "'a' must be a tensor, got list"),
        ({"model_state": {3: torch.ones(1)}}, "names must be text, got int"),
        ({"model_state": {"a": torch.tensor([1.0, float("nan")])}}, "'a' holds NaN"),
        ({"model_state": {"a": torch.tensor(float("inf"))}}, "'a' holds NaN or infinity"),
        ({"model_state": {"a": torch.ones(3).to_sparse()}}, "plain dense tensor"),
        ({"model_state": {"a": torch.ones(1).expand(10**9)}}, "claims more numbers than the file holds"),
        ({"model_state": {"a": RunsCode()}}, "never loaded"),
    ],
)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_wrong_and_hostile_content(tmp_path: Path, content: Any, message: str, is_zip: bool) -> None:
    path = write(tmp_path / "a.pth", content, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.read_openpcdet(path)
    assert not Path("/tmp/this-must-never-exist").exists()


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_a_hostile_file_gets_no_advice_to_load_it_unprotected(tmp_path: Path, is_zip: bool) -> None:
    path = write(tmp_path / "a.pth", {"model_state": {"a": RunsCode()}}, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=r"a\.pth: expected a PyTorch checkpoint that holds tensors") as caught:
        checkpoints.read_openpcdet(path)
    assert "weights_only" not in str(caught.value)
    assert isinstance(caught.value.__cause__, pickle.UnpicklingError)  # for those who ask for the traceback


def test_files_that_are_something_else(tmp_path: Path) -> None:
    good = write(tmp_path / "good.pth", {"model_state": state()}).read_bytes()
    path = tmp_path / "a.pth"
    for content in (
        b"",
        b"\x80",
        b"hello world" * 50,
        pickle.dumps({"model_state": {"a": 1}}),
        pickle.dumps(RunsCode()),
        *(good[: len(good) * part // 8] for part in range(1, 8)),
        good[:-1],
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.pth"):
            checkpoints.read_openpcdet(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.read_openpcdet(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.read_openpcdet(tmp_path)


def test_damaged_bytes_give_only_our_error(tmp_path: Path) -> None:
    for is_zip in (True, False):
        content = {"model_state": state()}
        good = write(tmp_path / "good.pth", content, _use_new_zipfile_serialization=is_zip).read_bytes()
        path = tmp_path / "a.pth"
        generator = torch.Generator().manual_seed(5)
        for _ in range(150):
            damaged = bytearray(good)
            for at in torch.randint(len(good), (3,), generator=generator).tolist():
                damaged[at] ^= 1 << int(torch.randint(8, (1,), generator=generator))
            path.write_bytes(damaged)
            try:
                found = checkpoints.read_openpcdet(path)
            except CheckpointError:
                continue
            assert all(torch.isfinite(t).all() for t in found.values())


def test_a_file_is_measured_by_what_it_unfolds_to(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="at most 1000000 are read"):
        checkpoints.read_openpcdet(path, max_bytes=1_000_000)


def test_the_detector_is_known_by_its_parameters() -> None:
    one = torch.ones(1)
    assert openpcdet.infer_detector({"roi_head.iou_layers.0.weight": one}, "a") == "second_iou"
    assert openpcdet.infer_detector({"pfe.SA_rawpoints.mlps.0.0.weight": one, "roi_head.x": one}, "a") == "pv_rcnn"
    with pytest.raises(CheckpointError, match=r"no detector known here.*roi_head\.iou_layers"):
        openpcdet.infer_detector({"backbone_3d.conv_input.0.weight": one}, "a")


@pytest.mark.data
@pytest.mark.parametrize(("case", "name"), [("second_iou_kitti", "second_iou"), ("pv_rcnn_kitti", "pv_rcnn")])
def test_the_reference_checkpoints_are_read(tmp_path: Path, case: str, name: str) -> None:
    script = SHARED / "golden" / "make_checkpoint.py"
    if not script.exists():
        pytest.skip(f"no reference data at {script.parent}; set UPCYCLE_SHARED to the shared data folder")
    spec = importlib.util.spec_from_file_location("make_checkpoint", script)
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    expected = maker.state_dict(case)
    path = write(tmp_path / "a.pth", {"model_state": expected, "epoch": 80, "it": 0, "version": "pcdet+0.6.0"})
    found = checkpoints.read_openpcdet(path)
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert openpcdet.infer_detector(found, str(path)) == name
