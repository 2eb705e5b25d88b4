from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hand_made import make_counts, make_measurement, make_record, make_timing

from atlasbench.core.errors import RecordsError
from atlasbench.core.record import Measurement, Memory, Record, Status
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
from atlasbench.store.codec import MAX_SAMPLES_KEPT, SCHEMA_VERSION, NewerSchemaError, decode_record, encode_record

FIXTURES = Path(__file__).parents[2] / "fixtures"
RECORDS = {
    "with everything": make_record(
        "atlas_s",
        "768x1536",
        scale_drop="2-2-8",
        options={"window_size": 8, "depths": [2, 10], "name": "päth | x"},
        batch_size=8,
        mode=Mode.TRAIN,
        dtype=Dtype.PURE_BFLOAT16,
        device="cuda:1",
        compiled=True,
        memory_format=MemoryFormat.CHANNELS_LAST,
        attention_backend=AttentionBackend.FLASH,
    ),
    "without counts": make_record(measurement=make_measurement(counts=None)),
    "without memory": make_record(measurement=make_measurement(memory=None)),
    "without timing": make_record(measurement=make_measurement(timing=None)),
    "with another protocol": make_record(measurement=make_measurement(protocol={"cold": True, "half_width": 0.01})),
    "with nothing but a status": make_record(
        measurement=Measurement(status=Status.OOM, message="out of memory\nin two lines"), family=""
    ),
    "with memory that is not known": make_record(
        measurement=make_measurement(memory=Memory(peak_bytes=None, method="resident_growth", note="no growth"))
    ),
    "with few samples": make_record(
        measurement=make_measurement(
            timing=make_timing(
                samples_s=(11.5, 12.25, 11.75),
                lag1_autocorrelation=None,
                cpu_time_s=None,
                flags=("few_samples", "drifting"),
                interval="range",
            )
        )
    ),
    "with counts beyond 64 bits": make_record(measurement=make_measurement(counts=make_counts(2**70))),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_comes_back_as_it_was_written(record: Record) -> None:
    line = encode_record(record)

    assert "\n" not in line
    timing = record.measurement.timing
    if timing is not None:  # how many samples were taken is written out, because some may be merged
        timing = replace(timing, total_samples=len(timing.samples_s))
    assert decode_record(line) == replace(record, measurement=replace(record.measurement, timing=timing))


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_writing_what_was_read_gives_the_same_line(record: Record) -> None:
    line = encode_record(record)

    assert encode_record(decode_record(line)) == line


def test_many_samples_are_kept_as_medians_of_contiguous_batches() -> None:
    samples = tuple(1.0 + index / 1024 for index in range(4000))
    record = make_record(measurement=make_measurement(timing=make_timing(samples_s=samples)))

    timing = decode_record(encode_record(record)).measurement.timing

    assert timing is not None
    assert timing.count == 4000
    assert len(timing.samples_s) == MAX_SAMPLES_KEPT
    assert timing.samples_s[0] == pytest.approx(median(samples[:10]), rel=1e-5)
    assert timing.samples_s[-1] == pytest.approx(median(samples[-10:]), rel=1e-5)
    assert encode_record(decode_record(encode_record(record))) == encode_record(record)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_write_becomes_null(value: float) -> None:
    timing = make_timing(lag1_autocorrelation=value)

    line = encode_record(make_record(measurement=make_measurement(timing=timing)))

    assert json.loads(line)["measurement"]["timing"]["lag1_autocorrelation"] is None
    assert "NaN" not in line
    assert "Infinity" not in line


def test_every_line_carries_the_schema_version() -> None:
    assert json.loads(encode_record(make_record()))["schema_version"] == SCHEMA_VERSION


def test_a_newer_schema_is_refused_with_what_to_do() -> None:
    data = json.loads(encode_record(make_record())) | {"schema_version": SCHEMA_VERSION + 1}

    with pytest.raises(
        NewerSchemaError, match=rf"schema version {SCHEMA_VERSION + 1} is newer than {SCHEMA_VERSION}, .* update it"
    ):
        decode_record(json.dumps(data))


def test_a_newer_schema_is_refused_whatever_else_the_line_holds() -> None:
    with pytest.raises(NewerSchemaError):
        decode_record('{"schema_version": 99}')


def test_fields_that_this_version_does_not_know_are_skipped() -> None:
    data = json.loads(encode_record(make_record()))
    data["later"] = 1
    for part in ("workload", "measurement", "environment"):
        data[part]["later"] = [1, 2]

    assert decode_record(json.dumps(data)) == decode_record(encode_record(make_record()))


def test_lines_of_version_1_are_read_without_what_came_later() -> None:
    lines = (FIXTURES / "records_version_1.jsonl").read_text().splitlines()

    counted, measured = map(decode_record, lines)

    assert counted.workload.model == "vit_ti"
    assert counted.measurement.counts is not None
    assert counted.measurement.counts.layers == ()
    assert measured.measurement.timing is not None
    assert measured.environment.matmul_flops_per_s == {}
    assert measured.environment.copy_bytes_per_s is None


def test_fields_that_came_later_may_be_missing() -> None:
    data = json.loads(encode_record(make_record()))
    del data["family"]
    del data["measurement"]["kernels"]
    del data["measurement"]["timing"]["clocks_mhz"]
    del data["measurement"]["counts"]["params_by_part"]

    record = decode_record(json.dumps(data))

    assert record.family == ""
    assert record.measurement.kernels == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"workload": None},
        {"workload": {}},
        {"measurement": []},
        {"environment": {"machine": "host"}},
        {"schema_version": "one"},
        {"schema_version": None},
    ],
    ids=str,
)
def test_a_line_with_damaged_parts_is_no_record(damage: dict[str, object]) -> None:
    data = json.loads(encode_record(make_record())) | damage

    with pytest.raises(RecordsError, match="not a record"):
        decode_record(json.dumps(data))


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("workload", {"batch_size": 0}),
        ("workload", {"resolution": "huge"}),
        ("workload", {"mode": "dream"}),
        ("measurement", {"status": "fine"}),
        ("measurement", {"counts": {"params": 1}}),
        ("measurement", {"counts": 5}),
        ("environment", {"versions": None}),
        ("workload", {"model": 5}),
        ("workload", {"options": None}),
        ("workload", {"options": {"name": "\ud800"}}),
        ("workload", {"scale_drop": 12}),
        ("workload", {"compiled": 1}),
        ("measurement", {"notes": "one text"}),
        ("measurement", {"notes": [5]}),
        ("measurement", {"protocol": None}),
        ("environment", {"device": None}),
        ("environment", {"threads": True}),
        ("environment", {"machine": "\udfff"}),
        ("environment", {"versions": {"torch": 2}}),
        ("environment", {"copy_bytes_per_s": math.inf}),
        ("environment", {"memory_bytes": 10**400}),
    ],
    ids=str,
)
def test_a_line_with_a_senseless_value_is_no_record(part: str, damage: dict[str, object]) -> None:
    data = json.loads(encode_record(make_record()))
    data[part] |= damage

    with pytest.raises(RecordsError, match="not a record"):
        decode_record(json.dumps(data))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("measurement counts params", "many", "measurement.counts.params is 'many'"),
        ("measurement counts flops", -1, "measurement.counts.flops is -1"),
        ("measurement counts flops_by_part", {"stem": None}, "measurement.counts.flops_by_part is {'stem': None}"),
        ("measurement memory method", 5, "measurement.memory.method is 5"),
        ("measurement timing quartiles_s", [1.0], "measurement.timing.quartiles_s is (1.0,)"),
        ("measurement timing latency_high_s", None, "measurement.timing.latency_high_s is None"),
        ("time", 20261121, "time is 20261121"),
        ("launch", "first", "launch is 'first'"),
    ],
)
def test_a_field_that_holds_something_else_is_named(path: str, value: object, message: str) -> None:
    data = part = json.loads(encode_record(make_record()))
    *parents, name = path.split()
    for parent in parents:
        part = part[parent]
    part[name] = value

    with pytest.raises(RecordsError) as refused:
        decode_record(json.dumps(data))
    assert str(refused.value) == f"not a record ({message})"


def test_a_layer_that_holds_something_else_is_named() -> None:
    data = json.loads(encode_record(make_record()))
    data["measurement"]["counts"]["layers"][0]["tokens"] = "4097"

    with pytest.raises(RecordsError, match=r"measurement\.counts\.layers\.tokens is '4097'"):
        decode_record(json.dumps(data))


@pytest.mark.parametrize("latency", [None, 0, -1, 1e-300, math.nan, "fast"])
@pytest.mark.parametrize("name", ["latency_s", "latency_low_s", "latency_high_s"])
def test_a_latency_that_gives_no_speed_is_no_record(name: str, latency: object) -> None:
    data = json.loads(encode_record(make_record()))
    data["measurement"]["timing"][name] = latency

    with pytest.raises(RecordsError, match="not a record"):
        decode_record(json.dumps(data))


@pytest.mark.parametrize(
    "line", ["", "{", "junk", "[]", "3", "null", b"\xff\xfe\x00", "[" * 10**5], ids=lambda line: repr(line[:9])
)
def test_what_is_not_a_json_object_is_no_record(line: str | bytes) -> None:
    with pytest.raises(RecordsError):
        decode_record(line)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_line_cut_anywhere_is_no_record(kept: float) -> None:
    line = encode_record(make_record())

    with pytest.raises(RecordsError, match="not JSON"):
        decode_record(line[: int(len(line) * kept)])


def test_a_line_with_a_scale_drop_that_is_none_is_no_record() -> None:
    data = json.loads(encode_record(make_record("atlas_s", scale_drop="2-10")))
    data["workload"]["scale_drop"] = "two"
    with pytest.raises(RecordsError, match="'two' is not a scale drop"):
        decode_record(json.dumps(data))
