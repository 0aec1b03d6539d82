"""Writes the files of this folder: `pip install pyarrow==26.0.1 polars==2.1.0`, then `python make.py`."""

import datetime
import decimal

import polars
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = range(8)
DAY = datetime.date(2024, 1, 1)
MIDNIGHT = datetime.datetime(2024, 1, 1)
Y = pa.array([float(i) for i in ROWS])


def of(kind, value=lambda i: i):
    return pa.array([value(i) for i in ROWS], kind)


def tenths(i):
    return decimal.Decimal(i) / 10


NUMBERS = {
    "boolean": of(pa.bool_(), lambda i: i % 2 == 1),
    **{f"{sign}int{bits}": of(getattr(pa, f"{sign}int{bits}")()) for sign in ["", "u"] for bits in [8, 16, 32, 64]},
    "largest": of(pa.uint64(), lambda i: 2**64 - 1 - i * 2**61),
    "half": of(pa.float16(), lambda i: i / 4),
    "single": of(pa.float32(), lambda i: i / 4),
    "decimal32": of(pa.decimal32(9, 1), tenths),
    "decimal64": of(pa.decimal64(18, 1), tenths),
    "decimal128": of(pa.decimal128(38, 1), tenths),
    "decimal256": of(pa.decimal256(76, 40), lambda i: -tenths(i) - decimal.Decimal(10) ** 30),
    "date": of(pa.date32(), lambda i: DAY + datetime.timedelta(i)),
    "date64": of(pa.date64(), lambda i: DAY + datetime.timedelta(i)),
    **{f"timestamp_{unit}": of(pa.timestamp(unit), lambda i: 1000 * i) for unit in ["s", "ms", "us", "ns"]},
    "zoned": of(pa.timestamp("us", "Europe/Berlin"), lambda i: 1500000 * i),
    **{f"duration_{unit}": of(pa.duration(unit), lambda i: 1000 * i) for unit in ["s", "ms", "us", "ns"]},
    "time_s": of(pa.time32("s")),
    "time_ms": of(pa.time32("ms"), lambda i: 1000 * i),
    "time_us": of(pa.time64("us"), lambda i: 1000000 * i),
    "time_ns": of(pa.time64("ns"), lambda i: 1000000000 * i),
    "number_text": of(pa.string(), str),
    "coded": of(pa.int64()).dictionary_encode(),
}
OTHERS = {
    "text": of(pa.string(), lambda i: "ab"[i % 2]),
    "large_text": of(pa.large_string(), lambda i: "ab"[i % 2]),
    "coded_text": of(pa.string(), lambda i: "ab"[i % 2]).dictionary_encode(),
    "day": of(pa.date32(), lambda i: DAY + datetime.timedelta(i % 2)),
    "map": of(pa.map_(pa.string(), pa.int64()), lambda i: [("a", i)]),
    "struct": of(pa.struct({"a": pa.int64(), "b": pa.string()}), lambda i: {"a": i, "b": "x"}),
    "list": of(pa.list_(pa.int64()), lambda i: [i, i]),
    "fixed_list": of(pa.list_(pa.int32(), 2), lambda i: [i, i]),
    "nested": of(pa.list_(pa.struct({"a": pa.list_(pa.int8())})), lambda i: [{"a": [i]}]),
    "bytes": of(pa.binary(), lambda i: bytes([i, 255])),
    "fixed_bytes": of(pa.binary(3), lambda i: bytes([i, 255, 3])),
    "uuid": of(pa.uuid(), lambda i: bytes([i] * 16)),
    "nothing": pa.nulls(len(ROWS)),
    "gap": of(pa.decimal128(10, 2), lambda i: None if i == 3 else i),
}
pq.write_table(pa.table({**NUMBERS, **OTHERS, "y": Y}), "kinds.parquet")

wide = {"int128": polars.Int128, "uint128": polars.UInt128, "decimal": polars.Decimal(10, 1)}
columns = {name: polars.Series([i for i in ROWS], dtype=kind) for name, kind in wide.items()}
columns["duration"] = [datetime.timedelta(seconds=i) for i in ROWS]
columns["time"] = [datetime.time(0, 0, i) for i in ROWS]
columns["category"] = polars.Series(["ab"[i % 2] for i in ROWS], dtype=polars.Categorical)
polars.DataFrame({**columns, "y": [float(i) for i in ROWS]}).write_parquet("of_polars.parquet")

few = pa.table({name: column for name, column in {**NUMBERS, **OTHERS, "y": Y}.items()
                if name in ["int64", "text", "decimal128", "half", "gap", "boolean", "y"]})
for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
    for version in ["1.0", "2.0"]:
        name = f"{codec}_{version[0]}.parquet"
        pq.write_table(few, name, compression=codec, data_page_version=version, row_group_size=3)

encoded = pa.table({"x": NUMBERS["int64"], "text": NUMBERS["number_text"], "long": NUMBERS["number_text"],
                    "split": NUMBERS["single"], "y": Y})
encodings = {"x": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY", "long": "DELTA_LENGTH_BYTE_ARRAY",
             "split": "BYTE_STREAM_SPLIT", "y": "PLAIN"}
pq.write_table(encoded, "encodings.parquet", use_dictionary=False, column_encoding=encodings)

moments = pa.table({"int96": of(pa.timestamp("us"), lambda i: 1000000 * i), "y": Y})
pq.write_table(moments, "int96.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
