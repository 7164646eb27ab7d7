"""The GPU's half hour: its driver and report, and what can be told of a GPU without one."""

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks.gpu.__main__ import PARTS, Settings, chosen, run
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.driver import Part, run_parts
from benchmarks.gpu.old_lovasz import old_lovasz
from benchmarks.gpu.parts import losses, profiling, recipes, syncs
from benchmarks.gpu.report import ABOUT, read_part, table
from benchmarks.gpu.steps import config_of
from lisa.config import RECIPES
from lisa.errors import InputError
from lisa.losses import lovasz

FAKES = {
    "quick": "bench.row('speeds', what='a|b', images_per_second=12345.6)\n    bench.note('a word')",
    "broken": "bench.row('speeds', what='first')\n    raise ValueError('no such kernel')",
    "endless": "bench.row('speeds', what='early')\n    time.sleep(600)",
    "last": "bench.row('speeds', in_time=not bench.no_time('more'))",
}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Parts of a module each."""
    for name, source in FAKES.items():
        (tmp_path / f"fake_{name}.py").write_text(f"import time\n\n\ndef run(bench):\n    {source}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return [Part(name, 1, f"the {name} one", f"fake_{name}") for name in FAKES]


def bench_in(folder: Path, data: Path | None = None) -> Bench:
    folder.mkdir(parents=True, exist_ok=True)
    return Bench(str(data or folder), str(folder), "cpu", tiny=True, deadline=time.time() + 3600)


@pytest.mark.slow
def test_a_part_that_fails_or_hangs_is_told_and_the_next_begins(parts: list[Part], tmp_path: Path):
    bench, said = bench_in(tmp_path / "out"), list[str]()
    (tmp_path / "out" / ABOUT).write_text(json.dumps({"GPU": "a card", "rehearsal": True}))
    # Only the hanging part needs all of its time.
    weighted = [part._replace(weight=1 if part.name == "endless" else 20) for part in parts]
    failed = run_parts(weighted, weighted, bench, minutes=2, say=said.append)
    assert failed == ["broken", "endless"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    outcomes = {part["part"]: part["outcome"] for part in report["parts"]}
    assert outcomes["quick"] == outcomes["last"] == "finished"
    assert "ValueError: no such kernel" in outcomes["broken"]
    assert outcomes["endless"].startswith("ended after its")
    assert [part["tables"] for part in report["parts"]][1:3] == [
        {"speeds": [{"what": "first"}]},
        {"speeds": [{"what": "early"}]},
    ]
    assert "Traceback" in (tmp_path / "out/broken/log.txt").read_text()
    text = (tmp_path / "out/report.md").read_text()
    assert "no figure here is a result" in text
    assert "- GPU: a card" in text
    assert "| a\\|b | 12,346 |" in text
    assert "a word" in text


def test_time_that_a_part_leaves_goes_to_the_later_ones(parts: list[Part], tmp_path: Path):
    bench = bench_in(tmp_path / "out")
    (tmp_path / "out" / ABOUT).write_text("{}")
    quick, last = parts[0], parts[3]
    assert run_parts([quick, last], parts, bench, minutes=10, say=print) == []
    limits = [
        json.loads((tmp_path / "out" / part.name / "outcome.json").read_text())["limit"]
        for part in (quick, last)
    ]
    assert limits[0] == pytest.approx(300, abs=1)
    assert 500 < limits[1] <= 600


def test_without_time_nothing_begins_and_earlier_figures_stay(parts: list[Part], tmp_path: Path):
    bench = bench_in(tmp_path / "out")
    (tmp_path / "out" / ABOUT).write_text("{}")
    assert run_parts(parts[:1], parts, bench, minutes=1, say=print) == []
    assert run_parts([parts[0], parts[3]], parts, bench, minutes=0, say=print) == ["quick", "last"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [part["outcome"] for part in report["parts"]] == ["finished", "not begun: no time left"]


def test_a_row_that_was_cut_off_costs_only_itself(tmp_path: Path):
    bench = bench_in(tmp_path)
    bench.row("speeds", ms_a_picture=1.5)
    with (tmp_path / "rows.jsonl").open("a") as stream:
        stream.write('{"table": "spee')
    (tmp_path / "outcome.json").write_text("{}")
    part = read_part(tmp_path)
    assert part["tables"] == {"speeds": [{"ms a picture": 1.5}]}
    assert part["notes"] == ["the last row was cut off"]


def test_a_table_has_all_rows_columns():
    rows: list[dict[str, Any]] = [{"a": True, "b": 0.000123456}, {"a": False, "c": None}]
    assert table(rows) == ["| a | b | c |", "| --- | --- | --- |", "| yes | 0.0001235 |  |", "| no |  |  |"]


def test_parts_are_chosen_by_name_in_their_order():
    assert [part.name for part in chosen(("quality", "device"))] == ["device", "quality"]
    assert chosen(()) == list(PARTS)
    with pytest.raises(InputError, match="--only speed: one of device, recipes"):
        chosen(("speed",))


def test_every_part_is_a_module():
    assert all(find_spec(part.where) is not None for part in PARTS)
    assert PARTS[-1].name == "quality", "the last one takes the time that is left"


@pytest.mark.parametrize("words", [*recipes.VARIANTS, *syncs.VARIANTS])
def test_every_variant_is_a_command_line(words: str, tmp_path: Path):
    config = config_of(words, bench_in(tmp_path))
    assert config.train.precision != "auto"


def test_all_recipes_are_tried():
    assert {words.split()[0] for words in recipes.VARIANTS} == set(RECIPES)


def test_waits_are_counted_where_they_happen(monkeypatch: pytest.MonkeyPatch):
    """torch's warnings, on a device that is pretended."""
    import warnings

    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def work() -> None:
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    places = syncs.waits(work, torch.device("cuda"))
    assert modes == ["warn", "default"]
    (place,) = places
    assert place.startswith("tests/unit/benchmarks/test_gpu.py:")
    assert "warnings.warn" in place
    assert places.total() == 2


def test_a_gpus_kernels_are_told_from_operations_and_parts(tmp_path: Path):
    def event(key: str, kind: DeviceType, own: float) -> SimpleNamespace:
        return SimpleNamespace(key=key, device_type=kind, self_device_time_total=own, count=6)

    events = [
        event("aten::conv2d", DeviceType.CPU, 900.0),
        event("forward", DeviceType.CUDA, 900.0),
        event("small", DeviceType.CUDA, 300.0),
        event("large", DeviceType.CUDA, 600.0),
    ]
    bench = Bench("", str(tmp_path), "cuda", tiny=True, deadline=0)
    profiling.kernels(bench, "kernels", events, calls=3)
    rows = [json.loads(line)["row"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["kernel"] for row in rows] == ["all", "large", "small"]
    assert rows[0]["ms"] == pytest.approx(0.3)
    assert rows[1] == {"kernel": "large", "calls": 2.0, "ms": 0.2, "share": pytest.approx(2 / 3)}


@pytest.mark.parametrize("term", losses.TERMS)
def test_former_formulas_are_the_same_losses(term: str):
    masks = torch.randint(0, 19, (2, 16, 16))
    masks[0, :3] = 255
    logits = torch.randn(2, 19, 16, 16, dtype=torch.float64)
    now, before = losses.TERMS[term]
    assert before(logits, masks).item() == pytest.approx(now(logits, masks).item(), rel=1e-7)
    apart = losses.gradient_of(before, logits, masks) - losses.gradient_of(now, logits, masks)
    assert apart.abs().max().item() < 1e-7


def test_old_lovasz_is_wrong_near_one_in_float32():
    """Why it was replaced, and why it is a referee in float64 alone."""
    masks = (torch.rand(1, 256, 256) < 0.35).long()
    logits = torch.randn(1, 19, 256, 256)
    right = losses.gradient_of(old_lovasz, logits.double(), masks)
    far = {
        formula: ((losses.gradient_of(formula, logits, masks) - right).norm() / right.norm()).item()
        for formula in (old_lovasz, lovasz)
    }
    assert far[lovasz] < 1e-5 < far[old_lovasz]


@pytest.mark.slow
@pytest.mark.parametrize("part", [part for part in PARTS if part.name != "suite"], ids=lambda part: part.name)
def test_rehearsal(part: Part, make_faces: Callable[..., Path], tmp_path: Path):
    """Every part runs on the CPU at tiny sizes, and leaves rows."""
    from importlib import import_module

    bench = bench_in(tmp_path / part.name, make_faces(train=6, val=2))
    import_module(part.where).run(bench)
    (tmp_path / part.name / "outcome.json").write_text("{}")
    found = read_part(tmp_path / part.name)
    assert found["tables"], "no row"
    rows = [row for rows in found["tables"].values() for row in rows]
    assert all(value == value for row in rows for value in row.values()), "NaN"
    check = {"resume": resumed_equal, "precision": same_device_equal, "predictor": labels_equal}.get(
        part.name
    )
    if check is not None:
        check(rows)


def resumed_equal(rows: list[dict[str, Any]]) -> None:
    assert [row["largest difference"] for row in rows] == [0, 0]


def same_device_equal(rows: list[dict[str, Any]]) -> None:
    fp32 = [row for row in rows if row["precision"] == "fp32"]
    assert [row["relative difference"] for row in fp32] == [0, 0]
    assert all(row["two runs equal"] and row["lowest cosine"] > 0.999 for row in fp32)


def labels_equal(rows: list[dict[str, Any]]) -> None:
    shares = [
        row["labels equal to the plain loop"] for row in rows if row.get("labels equal to the plain loop")
    ]
    assert len(shares) == 1
    assert shares[0] > 0.999


@pytest.mark.slow
def test_the_command_rehearses_without_cuda(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["gpu", "--only", "device"])
    assert run(Settings(make_faces(), tmp_path / "out", minutes=5, only=("device",))) == []
    assert "a rehearsal at tiny sizes" in capsys.readouterr().out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["about"]["rehearsal"] is True
    assert report["about"]["GPU"] == "none"
    assert report["about"]["torch"] == torch.__version__
    assert [part["outcome"] for part in report["parts"]] == ["finished"]
    assert "products of 64x64 matrices" in report["parts"][0]["tables"]


def test_data_without_a_split_are_refused_before_anything_is_measured(tmp_path: Path):
    with pytest.raises(InputError, match="no split 'train' here"):
        run(Settings(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
