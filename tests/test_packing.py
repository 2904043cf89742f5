"""Tests of ecgrepro.data.packing and ecgrepro.data.wfdb16."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgrepro import ROOT
from ecgrepro.data import packing, signals
from ecgrepro.data.packing import open_packed, pack, pack_arrays
from ecgrepro.data.ptbxl import open_release
from ecgrepro.data.wfdb16 import RecordError, parse_header, read_record
from ecgrepro.errors import InputError
from tests.wfdb_fixture import (
    HEADER_LEADS,
    random_adu,
    row,
    write_record,
    write_small_release,
    write_tables,
)


@pytest.fixture
def folder(tmp_path):
    return write_small_release(tmp_path / "release")


@pytest.fixture
def base(folder):
    """Path of record 3 without extension."""
    return folder / "records100" / "00000" / "00003_lr"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reason_of(packed, ecg_id):
    return packed.skipped.set_index("ecg_id").loc[ecg_id, "reason"]


@pytest.mark.parametrize("rate", [100, 500])
def test_pack_equals_wfdb(tmp_path, rate):
    folder = write_small_release(tmp_path / "release", n=4, rate=rate)
    release = open_release(folder, rate)
    packed = pack(release, tmp_path / "packed", progress=False)
    assert packed.ecg_ids.tolist() == [1, 2, 3, 4]
    assert packed.signals.shape == (4, 12, 10 * rate)
    assert packed.signals.dtype == np.int16
    assert not packed.signals.flags.writeable
    assert packed.rate == rate
    assert packed.skipped.empty
    for position, name in enumerate(release.index[release.path_column]):
        expected, fields = wfdb.rdsamp(str(folder / name))
        found = signals.to_millivolts(packed.signals[position])
        np.testing.assert_allclose(found, expected.T, atol=1e-6)
        assert fields["fs"] == rate


@pytest.mark.parametrize(
    "text",
    [
        "a 2 100 1000\na.dat 16 1000.0(0)/mV 16 0 -165 60182 0 I\na.dat 16 200 16 7 0 -3 0 lead II\n",
        "# note\na 1 500/500(0) 5000 09:17:34 09/11/1984\na.dat 16+24 2000(-5)/uV 12 0 1 2 0 V1\n",
        "a 1 250.5 10\n\na.dat 16x1 1e3/mV 16 0 1 2 0\n# tail\n",
        "a 1 250 10\na.dat 16\n",
    ],
)
def test_header_agrees_with_wfdb(tmp_path, text):
    (tmp_path / "a.hea").write_text(text)
    theirs, ours = wfdb.rdheader(str(tmp_path / "a")), parse_header(text)
    assert (ours.name, ours.rate, ours.n_samples) == ("a", theirs.fs, theirs.sig_len)
    assert [lead.file for lead in ours.leads] == theirs.file_name
    assert [lead.format for lead in ours.leads] == [int(f) for f in theirs.fmt]
    assert [lead.gain for lead in ours.leads] == theirs.adc_gain
    assert [lead.baseline for lead in ours.leads] == theirs.baseline
    assert [lead.units for lead in ours.leads] == theirs.units
    assert [lead.offset for lead in ours.leads] == [o or 0 for o in theirs.byte_offset]
    checksums = [None if c is None else c % 65536 for c in theirs.checksum]
    assert [lead.checksum for lead in ours.leads] == checksums
    assert [lead.name for lead in ours.leads] == [name or "" for name in theirs.sig_name]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("a1 \n./-+()x:#%eE\t²"), max_size=60) | st.text(max_size=40))
def test_any_text_is_a_header_or_a_reason(text):
    with contextlib.suppress(RecordError):
        assert parse_header(text).name


def damage_header(base, old, new, count=-1):
    header = base.with_suffix(".hea")
    assert old in header.read_text()
    header.write_text(header.read_text().replace(old, new, count))


def truncate(base):
    content = base.with_suffix(".dat").read_bytes()
    base.with_suffix(".dat").write_bytes(content[:12_001])


def flip_bit(base):
    content = bytearray(base.with_suffix(".dat").read_bytes())
    content[2 * 12 * 500 + 2 * 7] ^= 4  # sample 500 of the eighth lead, V2
    base.with_suffix(".dat").write_bytes(content)


def link_outside(base):
    secret = base.parents[3] / "secret.dat"
    shutil.move(base.with_suffix(".dat"), secret)
    base.with_suffix(".dat").symlink_to(secret)


DAMAGES = {
    "no .dat file": lambda base: base.with_suffix(".dat").unlink(),
    "no .hea file": lambda base: base.with_suffix(".hea").unlink(),
    "truncated: 12001 of 24000 bytes": truncate,
    "too long": lambda base: base.with_suffix(".dat").write_bytes(b"\0" * 24_002),
    "checksum mismatch in lead V2": flip_bit,
    "the rate is 500 Hz, not 100": lambda base: write_record(base, random_adu(3), rate=500),
    "900 samples, not 1000": lambda base: write_record(base, random_adu(3, 12, 900)),
    "lead V6 is missing": lambda base: write_record(base, random_adu(3, 11), HEADER_LEADS[:11]),
    "named more than once": lambda base: write_record(
        base, random_adu(3, 13), (*HEADER_LEADS, "V6")
    ),
    "format 212 is not 16": lambda base: damage_header(base, " 16 1000", " 212 1000"),
    "outside its own folder": lambda base: damage_header(base, "00003_lr.dat", "../00004_lr.dat"),
    "several files": lambda base: damage_header(
        base, "00003_lr.dat 16 1000.0(0)/mV 16 0 ", "other.dat 16 1000.0(0)/mV 16 0 ", 1
    ),
    "not in WFDB format": lambda base: base.with_suffix(".hea").write_bytes(b"\xff\x00 rubbish"),
    "describes no lead": lambda base: base.with_suffix(".hea").write_text("00003_lr 0 100 1000\n"),
    "names 12 leads but describes 1": lambda base: base.with_suffix(".hea").write_text(
        "00003_lr 12 100 1000\n00003_lr.dat 16 1000 16 0 0 0 0 I\n"
    ),
    "not a voltage": lambda base: damage_header(base, "/mV", "/mmHg"),
    "no 32-bit number": lambda base: damage_header(base, "(0)", f"({10**400})"),
    "too long: more than 24000 bytes": lambda base: os.truncate(base.with_suffix(".dat"), 5 << 30),
    "beyond the 32.767 mV": lambda base: damage_header(base, "1000.0(0)", "10.0(0)"),
    "symbolic link out of the release": link_outside,
    "cannot be read": lambda base: (
        base.with_suffix(".dat").unlink(),
        base.with_suffix(".dat").mkdir(),
    ),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_damaged_record_is_a_recorded_skip(tmp_path, folder, base, reason):
    DAMAGES[reason](base)
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    assert packed.ecg_ids.tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert packed.skipped["ecg_id"].tolist() == [3]
    assert packed.skipped["file"].tolist() == ["records100/00000/00003_lr"]
    assert reason in reason_of(packed, 3)
    np.testing.assert_array_equal(packed.signals[packed.rows([4])[0]], random_adu(4))
    with pytest.raises(InputError, match=r"ecg_id 3 is not packed .*\("):
        packed.rows([4, 3])


def test_other_lead_order_is_set_right_by_name(tmp_path, folder, base):
    """S-36."""
    order = [5, 3, 0, 1, 11, 10, 9, 8, 7, 6, 4, 2]
    adu = random_adu(3)
    write_record(base, adu[order], [HEADER_LEADS[i].lower() for i in order])
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    np.testing.assert_array_equal(packed.signals[2], adu)


def test_other_gain_baseline_and_unit_are_converted(tmp_path, folder, base):
    adu = random_adu(3)
    adu[4, 10] = signals.INVALID
    write_record(base, adu, gain="500.0(100)/mV")
    write_record(base.with_name("00004_lr"), random_adu(4), gain="1.0(0)/uV")
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    theirs, _ = wfdb.rdsamp(str(base))
    np.testing.assert_allclose(signals.to_millivolts(packed.signals[2]), theirs.T, atol=5e-4)
    assert packed.signals[2, 4, 10] == signals.INVALID
    np.testing.assert_array_equal(packed.signals[3], random_adu(4))


def test_signal_files_and_units_of_other_collections(tmp_path, folder, base):
    """PhysioNet's challenge stores .mat files with 24 bytes before the samples; old headers are in Latin-1."""
    header, signal_file = base.with_suffix(".hea"), base.with_suffix(".dat")
    header.write_text(header.read_text().replace(".dat 16 ", ".mat 16+24 "))
    base.with_suffix(".mat").write_bytes(b"h" * 24 + signal_file.read_bytes())
    signal_file.unlink()
    write_record(base.with_name("00004_lr"), random_adu(4), gain="1.0(0)/@V")
    other = base.with_name("00004_lr.hea")
    other.write_bytes(other.read_text().replace("@", "µ").encode("latin-1"))
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    assert packed.skipped.empty
    np.testing.assert_array_equal(packed.signals[2:4], [random_adu(3), random_adu(4)])


def test_unrecorded_samples_and_flat_leads_are_kept_and_counted(tmp_path, folder, base):
    adu = random_adu(3)
    adu[2, 40:50] = signals.INVALID
    adu[7] = 5
    write_record(base, adu)
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    np.testing.assert_array_equal(packed.signals[2], adu)
    assert packed.flat == (3,)
    assert packed.incomplete == (3,)
    assert "1 with a flat lead; 1 with unrecorded samples" in packed.summary()
    millivolts = signals.to_millivolts(packed.signals[2])
    assert np.isnan(millivolts[2, 40:50]).all()
    theirs, _ = wfdb.rdsamp(str(base))
    np.testing.assert_allclose(millivolts, theirs.T, atol=1e-6)  # wfdb says NaN there as well
    assert not signals.prepare(packed.signals[2:3])[0][0, 7].any()


def test_partial_download_is_counted_and_packed(tmp_path, folder):
    for ecg_id in range(4, 11):
        for suffix in (".hea", ".dat"):
            (folder / f"records100/00000/{ecg_id:05d}_lr{suffix}").unlink()
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    assert packed.ecg_ids.tolist() == [1, 2, 3]
    assert packed.summary() == "3 of 10 records packed; 7 of 10 records have no file"
    assert set(packed.skipped["reason"]) == {"no file"}


def test_nothing_to_pack_is_one_sentence(tmp_path, folder):
    with pytest.raises(InputError, match=r"none of the 10 records .* at 500 Hz"):
        pack(open_release(folder, 500), tmp_path / "packed")
    assert not list((tmp_path / "packed").iterdir())
    for path in folder.rglob("*.dat"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="ecg_id 1: the signal file is truncated"):
        pack(open_release(folder), tmp_path / "packed", progress=False)
    with pytest.raises(InputError, match="run pack first"):
        open_packed(tmp_path / "packed")


@pytest.mark.parametrize(
    "path",
    ["../elsewhere", "{outside}/elsewhere", "records100/../../elsewhere", "linked"],
)
def test_path_that_leaves_the_release_is_skipped(tmp_path, folder, path):
    (tmp_path / "elsewhere").mkdir()
    for suffix in (".hea", ".dat"):
        source = folder / f"records100/00000/00002_lr{suffix}"
        shutil.copy(source, tmp_path / "elsewhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    release = open_release(folder)
    index = release.index.copy()
    path = path.format(outside=tmp_path) + "/00002_lr"
    index.loc[2, "filename_lr"] = path
    packed = pack(dataclasses.replace(release, index=index), tmp_path / "packed", progress=False)
    assert packed.skipped["ecg_id"].tolist() == [2]
    assert packed.skipped["reason"].str.contains("leaves the release").all()
    with pytest.raises(RecordError, match="leaves the release"):
        read_record(str(folder), path)


@pytest.mark.parametrize("name", ["C:\\secret", "a\\..\\..\\secret", "", "a\0b"])
def test_paths_of_other_systems_lead_nowhere(folder, name):
    with pytest.raises(RecordError, match=r"no \.hea file|leaves the release"):
        read_record(str(folder), name)


def test_finished_pack_is_not_read_again(tmp_path, folder, monkeypatch):
    release = open_release(folder)
    pack(release, tmp_path / "packed", progress=False)
    before = contents(tmp_path / "packed")

    def refuse(*_):
        raise AssertionError("a record was read again")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "read_record", refuse)
        assert len(pack(release, tmp_path / "packed").ecg_ids) == 10
    (tmp_path / "packed" / "packed.json").unlink()  # as a workflow engine does before a rerun
    assert len(pack(release, tmp_path / "packed").ecg_ids) == 10
    assert contents(tmp_path / "packed") == before


def test_sigkill_of_the_process(tmp_path, folder):
    program = (
        "import os, signal, sys\n"
        "from ecgrepro.data import open_release, packing\n"
        "genuine, count = packing.read_record, []\n"
        "def read(*a):\n"
        "    count.append(1)\n"
        "    if len(count) == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return genuine(*a)\n"
        "packing.read_record = read\n"
        "packing.pack(open_release(sys.argv[1]), sys.argv[2])\n"
    )
    out = tmp_path / "packed"
    killed = subprocess.run([sys.executable, "-c", program, folder, out], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir()] == ["signals.part"]
    with pytest.raises(InputError, match="no finished pack"):
        open_packed(out)
    release = open_release(folder)
    pack(release, out, progress=False)
    pack(release, tmp_path / "whole", progress=False)
    assert contents(out) == contents(tmp_path / "whole")


def test_pack_of_another_release_is_replaced_only_knowingly(tmp_path, folder):
    out = tmp_path / "packed"
    first = pack(open_release(folder), out, progress=False)
    other = open_release(write_small_release(tmp_path / "other", n=12))
    with pytest.raises(InputError, match=r"another release .* replace=True"):
        pack(other, out, progress=False)
    assert len(open_packed(out).ecg_ids) == 10
    assert len(pack(other, out, progress=False, replace=True).ecg_ids) == 12
    np.testing.assert_array_equal(first.signals[2], random_adu(3))  # the open map stays readable


def test_grown_or_repaired_download_is_packed_again(tmp_path, folder, base):
    out = tmp_path / "packed"
    kept = base.with_suffix(".dat").read_bytes()
    flip_bit(base)
    base.with_name("00005_lr").with_suffix(".dat").rename(tmp_path / "late.dat")
    assert len(pack(open_release(folder), out, progress=False).ecg_ids) == 8
    (tmp_path / "late.dat").rename(base.with_name("00005_lr").with_suffix(".dat"))
    assert len(pack(open_release(folder), out, progress=False).ecg_ids) == 9
    base.with_suffix(".dat").write_bytes(kept)  # same size, other content
    os.utime(base.with_suffix(".dat"), (0, 0))  # as a copy that keeps the times
    assert len(pack(open_release(folder), out, progress=False).ecg_ids) == 10


def test_rows(tmp_path):
    folder = tmp_path / "release"
    rows = [row(ecg_id) for ecg_id in (30, 10, 20)]
    write_tables(folder, rows)
    for values in rows:
        write_record(folder / values["filename_lr"], random_adu(int(values["ecg_id"])))
    packed = pack(open_release(folder), tmp_path / "packed", progress=False)
    assert packed.ecg_ids.tolist() == [10, 20, 30]
    assert packed.rows([30, 10, 10]).tolist() == [2, 0, 0]
    np.testing.assert_array_equal(packed.signals[packed.rows([20])[0]], random_adu(20))
    assert packed.rows([]).tolist() == []
    with pytest.raises(InputError, match="ecg_id 31 is not packed"):
        packed.rows([10, 31, 5])
    for unknown in (["ten"], [10.5], [10, None]):
        with pytest.raises(InputError, match="is not packed"):
            packed.rows(unknown)
    assert packed.rows(np.array([20.0])).tolist() == [1]


def damage_array(name, values):
    return lambda out: np.save(out / name, values, allow_pickle=True)


def damage_provenance(**changes):
    def damage(out):
        held = json.loads((out / "packed.json").read_text())
        (out / "packed.json").write_text(json.dumps(held | changes))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda out: (out / "signals.npy").write_bytes((out / "signals.npy").read_bytes()[:-2]),
        lambda out: (out / "signals.npy").write_bytes(b""),
        lambda out: (out / "signals.npy").write_bytes(
            b"\x93NUMPY\x01\x00v\x00{'descr': '" + b" " * 200
        ),
        lambda out: (out / "skipped.csv").write_text("ecg_id,why\n3,x\n"),
        lambda out: (out / "packed.json").write_text("[" * 100_000),
        lambda out: (out / "packed.json").write_bytes(b"\xff"),
        lambda out: (out / "packed.json").write_text("[1]"),
        damage_provenance(rate="fast"),
        damage_provenance(flat=5),
        damage_array("ecg_ids.npy", np.arange(9)),
        damage_array("ecg_ids.npy", np.arange(10)[::-1]),
        damage_array("ecg_ids.npy", np.arange(10.0)),
        damage_array("ecg_ids.npy", np.arange(10)[:, None]),
        damage_array("ecg_ids.npy", np.array([{}], dtype=object)),
        damage_array("signals.npy", np.zeros((10, 12, 1000))),
    ],
)
def test_damaged_pack_is_named_and_can_be_made_again(tmp_path, folder, damage):
    out = tmp_path / "packed"
    release = open_release(folder)
    pack(release, out, progress=False)
    damage(out)
    with pytest.raises(InputError, match="damaged"):
        open_packed(out)
    (out / "packed.json").unlink()
    assert len(pack(release, out, progress=False).ecg_ids) == 10


def tracings(n=5, samples=60):
    adu = np.random.default_rng(6).integers(-2000, 2000, (n, 12, samples)).astype(np.int16)
    adu[1, 3] = 7  # a flat lead
    adu[2, :, 50:] = signals.INVALID
    return adu


def test_arrays_become_a_pack_in_order_of_their_ids(tmp_path):
    adu, ids = tracings(), np.array([50, 10, 40, 20, 30])
    packed = pack_arrays(adu, ids, 100, tmp_path / "whole", "another cohort")
    assert packed.ecg_ids.tolist() == [10, 20, 30, 40, 50]
    assert (packed.rate, packed.flat, packed.incomplete) == (100, (10,), (40,))
    assert len(packed.skipped) == 0
    assert (
        packed.summary() == "5 of 5 records packed; 1 with a flat lead; 1 with unrecorded samples"
    )
    np.testing.assert_array_equal(packed.signals[packed.rows(ids)], adu)
    with pytest.raises(ValueError, match="read-only"):
        packed.signals[0] = 0
    fingerprint = json.loads((tmp_path / "whole" / "packed.json").read_text())["fingerprint"]
    assert fingerprint["source"] == "another cohort"
    changed = adu.copy()
    changed[4, 0, 0] += 1
    again = pack_arrays(changed, ids, 100, tmp_path / "changed", "another cohort").folder
    other = json.loads((again / "packed.json").read_text())["fingerprint"]
    assert other.pop("content_crc32") != fingerprint.pop("content_crc32")
    assert other == fingerprint


@pytest.mark.parametrize("cuts", [[], [0, 2], [1, 2, 3, 4], [5]])
def test_a_stream_of_blocks_gives_the_bytes_of_the_whole_array(tmp_path, cuts):
    adu, ids = tracings(), [50, 10, 40, 20, 30]
    pack_arrays(adu, ids, 100, tmp_path / "whole", "a cohort")
    stream = (block for block in np.split(adu, cuts))
    pack_arrays(stream, ids, 100, tmp_path / "stream", "a cohort")
    assert contents(tmp_path / "stream") == contents(tmp_path / "whole")


def test_arrays_that_do_not_fit_are_refused_and_leave_the_earlier_pack(tmp_path):
    out, adu, ids = tmp_path / "packed", tracings(), np.arange(5)
    pack_arrays(adu, ids, 100, out, "a cohort")
    before = contents(out)
    for wrong, fault in (
        (adu.astype(np.float32), "type float32"),
        (adu[:, :11], r"shape \(5, 11, 60\)"),
        (adu[0], r"shape \(12, 60\)"),
        (adu[:, :, :0], "0 samples"),
        (adu[:4], "4 signals do not fit 5 ecg_ids"),
        (np.concatenate([adu, adu]), "more signals than 5"),
        ([adu[:2], adu[2:, :, :50]], "50 samples follow 60"),
        ([], "0 signals do not fit"),
    ):
        with pytest.raises(InputError, match=fault):
            pack_arrays(wrong, ids, 100, out, "a cohort")
    for wrong_ids in ([1, 2, 2, 3, 4], [], [1, 2, 3, 4, 5.5], [[1, 2, 3, 4, 5]], list("abcde")):
        with pytest.raises(InputError, match="not distinct whole numbers"):
            pack_arrays(adu, wrong_ids, 100, out, "a cohort")
    with pytest.raises(InputError, match="rate is 0"):
        pack_arrays(adu, ids, 0, out, "a cohort")
    assert contents(out) == before  # and no temporary file beside it


def test_arrays_replace_another_pack_only_knowingly(tmp_path, folder):
    out, adu = tmp_path / "packed", tracings()
    release = open_release(folder)
    pack(release, out, progress=False)
    with pytest.raises(InputError, match=r"replace=True"):
        pack_arrays(adu, range(5), 100, out, "a cohort")
    assert len(open_packed(out).ecg_ids) == 10
    pack_arrays(adu, range(5), 100, out, "a cohort", replace=True)
    assert len(pack_arrays(adu[:3], range(3), 100, out, "a cohort").ecg_ids) == 3  # grown or shrunk
    for source, rate in (("another", 100), ("a cohort", 50)):
        with pytest.raises(InputError, match=r"replace=True"):
            pack_arrays(adu, range(5), rate, out, source)
    with pytest.raises(InputError, match=r"replace=True"):
        pack(release, out, progress=False)
    pack(release, out, progress=False, replace=True)
    pack(release, tmp_path / "fresh", progress=False)
    assert contents(out) == contents(tmp_path / "fresh")


class Killed(BaseException):
    """Nothing in the package catches it."""


@pytest.mark.parametrize("step", ["write_json", "fsync", "atomic_path"])
def test_arrays_killed_while_packing(tmp_path, monkeypatch, step):
    adu, out = tracings(), tmp_path / "packed"
    pack_arrays(adu, range(5), 100, tmp_path / "whole", "a cohort")

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(packing.os if step == "fsync" else packing, step, kill)
        with pytest.raises(Killed):
            pack_arrays(adu, range(5), 100, out, "a cohort")
    with pytest.raises(InputError, match="no finished pack"):
        open_packed(out)
    pack_arrays(adu, range(5), 100, out, "a cohort")
    assert contents(out) == contents(tmp_path / "whole")


def test_provenance_holds_no_time_and_no_machine_path(tmp_path, folder):
    pack(open_release(folder), tmp_path / "a", progress=False)
    copy = shutil.copytree(folder, tmp_path / "copy")  # other folder, other times
    pack(open_release(copy), tmp_path / "b", progress=False)
    provenance = json.loads((tmp_path / "a" / "packed.json").read_text())
    assert provenance["records"] == 10
    assert provenance["fingerprint"]["rate"] == 100
    for name in ("packed.json", "signals.npy", "ecg_ids.npy", "skipped.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_genuine_records(tmp_path, real_ptbxl):
    release = open_release(real_ptbxl)
    packed = pack(release, tmp_path / "packed", progress=False)
    assert (
        packed.summary() == "1,490 of 21,799 records packed; 20,309 of 21,799 records have no file"
    )
    assert packed.signals.shape == (1490, 12, 1000)
    for ecg_id in packed.ecg_ids[::300]:
        expected, _ = wfdb.rdsamp(str(real_ptbxl / release.index.loc[ecg_id, "filename_lr"]))
        found = signals.to_millivolts(packed.signals[packed.rows([ecg_id])[0]])
        np.testing.assert_allclose(found, expected.T, atol=1e-6)
    high = open_release(real_ptbxl, 500)
    name = high.index.loc[22, "filename_hr"]
    expected, _ = wfdb.rdsamp(str(real_ptbxl / name))
    found = signals.to_millivolts(read_record(str(real_ptbxl), name, 500, 5000))
    np.testing.assert_allclose(found, expected.T, atol=1e-6)
