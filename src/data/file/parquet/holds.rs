//! What a column holds, and what its cells are.
//!
//! Moments are seconds since the beginning of 1970 (UTC), times of day seconds since midnight, durations seconds.
//! Source: the Apache Parquet format, "Logical types".

use super::footer::Hint;
use super::{Cell, ReadAs, line};
use crate::data::file::{half, whole};
use polars::prelude::{DataType, PolarsResult, Series, TimeUnit};
use polars_parquet::parquet::schema::Repetition;
use polars_parquet::parquet::schema::types::{GroupConvertedType, IntegerType, PrimitiveType};
use polars_parquet::read::{
    GroupLogicalType, ParquetTimeUnit, ParquetType, PhysicalType, PrimitiveConvertedType, PrimitiveLogicalType,
};

/// The longest decimals that are read, in bytes.
const LONGEST: usize = 1024;

/// The mean length of texts, in bytes, up to which they may repeat as often as they like.
const LONG: usize = 256;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Holds {
    /// True or false.
    Booleans,
    /// Whole numbers of up to 64 bits.
    Wholes {
        /// Whether they have a sign.
        signed: bool,
    },
    /// Whole numbers of 128 bits.
    Wide {
        /// Whether they have a sign.
        signed: bool,
    },
    /// Numbers of single or double precision.
    Floats,
    /// Numbers of half precision.
    Halves,
    /// Whole numbers over a power of ten.
    Decimals {
        /// That power.
        scale: usize,
    },
    /// Days since the beginning of 1970.
    Dates,
    /// Counts of a unit since the beginning of 1970.
    Moments(TimeUnit),
    /// Counts of a unit, so many a second: durations and times of day.
    Spans(f64),
    /// Text.
    Texts,
    /// What is neither a number nor a name; this, in the plural.
    Other(&'static str),
}

impl Holds {
    /// What a column holds by its type, and by what was said beside it.
    pub fn of(field: &ParquetType, hint: Option<Hint>) -> Holds {
        use GroupConvertedType as C;
        use GroupLogicalType as L;
        if field.get_field_info().repetition == Repetition::Repeated {
            return Holds::Other("lists");
        }
        match field {
            ParquetType::PrimitiveType(field) => Holds::of_flat(field, hint),
            ParquetType::GroupType { logical_type, converted_type, .. } => match (logical_type, converted_type) {
                (Some(L::Map), _) | (_, Some(C::Map | C::MapKeyValue)) => Holds::Other("maps"),
                (Some(L::List), _) | (_, Some(C::List)) => Holds::Other("lists"),
                (None, None) => Holds::Other("structs"),
            },
        }
    }

    fn of_flat(field: &PrimitiveType, hint: Option<Hint>) -> Holds {
        use IntegerType as I;
        use PrimitiveConvertedType as C;
        use PrimitiveLogicalType as L;
        if let Some(logical) = field.logical_type {
            match logical {
                L::String | L::Enum | L::Json => return Holds::Texts,
                L::Decimal(_, scale) => return Holds::Decimals { scale },
                L::Date => return Holds::Dates,
                L::Time { unit, .. } => return Holds::Spans(per_second(unit)),
                L::Timestamp { unit, .. } => return Holds::Moments(time_unit(unit)),
                L::Integer(I::Int8 | I::Int16 | I::Int32 | I::Int64) => return Holds::Wholes { signed: true },
                L::Integer(_) => return Holds::Wholes { signed: false },
                L::Float16 => return Holds::Halves,
                L::Bson | L::Uuid => return Holds::Other("bytes"),
                // Nothing but values that are missing.
                L::Unknown => {}
            }
        }
        if let Some(converted) = field.converted_type {
            return match converted {
                C::Utf8 | C::Enum | C::Json => Holds::Texts,
                C::Decimal(_, scale) => Holds::Decimals { scale },
                C::Date => Holds::Dates,
                C::TimeMillis => Holds::Spans(1e3),
                C::TimeMicros => Holds::Spans(1e6),
                C::TimestampMillis => Holds::Moments(TimeUnit::Milliseconds),
                C::TimestampMicros => Holds::Moments(TimeUnit::Microseconds),
                C::Uint8 | C::Uint16 | C::Uint32 | C::Uint64 => Holds::Wholes { signed: false },
                C::Int8 | C::Int16 | C::Int32 | C::Int64 => Holds::Wholes { signed: true },
                C::Bson => Holds::Other("bytes"),
                C::Interval => Holds::Other("intervals of months and days"),
            };
        }
        match (field.physical_type, hint) {
            (PhysicalType::Boolean, _) => Holds::Booleans,
            (PhysicalType::Int64, Some(Hint::Duration(per_second))) => Holds::Spans(per_second),
            (PhysicalType::Int32 | PhysicalType::Int64, _) => Holds::Wholes { signed: true },
            (PhysicalType::Int96, _) => Holds::Moments(TimeUnit::Microseconds),
            (PhysicalType::Float | PhysicalType::Double, _) => Holds::Floats,
            (PhysicalType::FixedLenByteArray(16), Some(Hint::Wide { signed })) => Holds::Wide { signed },
            (PhysicalType::FixedLenByteArray(_) | PhysicalType::ByteArray, _) => Holds::Other("bytes"),
        }
    }

    /// The cells of values as they are stored.
    ///
    /// # Errors
    /// Where they are not what they are said to be.
    pub fn cells(&self, stored: &Series, reading: ReadAs, file: usize) -> Result<Vec<Cell<'static>>, String> {
        let cells = match (self, reading) {
            (Holds::Other(words), _) => return Err(format!("it holds {words}")),
            (Holds::Texts, _) => return texts(stored, file),
            (Holds::Dates, ReadAs::Names) => written(stored, &DataType::Date),
            (Holds::Moments(unit), ReadAs::Names) => written(stored, &DataType::Datetime(*unit, None)),
            (Holds::Booleans, _) => stored.bool().map(|values| {
                let number = |value: bool| Cell::Number(f64::from(u8::from(value)));
                values.iter().map(|value| value.map_or(Cell::Missing, number)).collect()
            }),
            (Holds::Floats, _) => stored.cast(&DataType::Float64).and_then(|values| {
                Ok(values.f64()?.iter().map(|value| value.map_or(Cell::Missing, Cell::Number)).collect())
            }),
            (Holds::Wholes { signed: true }, _) => of_wholes(stored, |value| whole(value.into())),
            (Holds::Wholes { signed: false }, _) => {
                let bits = if stored.dtype() == &DataType::Int32 { u64::from(u32::MAX) } else { u64::MAX };
                of_wholes(stored, |value| whole((value as u64 & bits).into()))
            }
            (Holds::Dates, _) => of_wholes(stored, |days| Cell::Number(days as f64 * 86_400.0)),
            (Holds::Moments(unit), _) => {
                let per_second = match unit {
                    TimeUnit::Milliseconds => 1e3,
                    TimeUnit::Microseconds => 1e6,
                    TimeUnit::Nanoseconds => 1e9,
                };
                of_wholes(stored, |count| Cell::Number(count as f64 / per_second))
            }
            (Holds::Spans(per_second), _) => of_wholes(stored, |count| Cell::Number(count as f64 / per_second)),
            (Holds::Decimals { scale }, _) if stored.dtype() != &DataType::Binary => {
                of_wholes(stored, |value| decimal(value.to_string(), *scale))
            }
            (Holds::Decimals { scale }, _) => of_bytes(stored, |bytes| match bytes.len() {
                0..=LONGEST => decimal(digits(bytes), *scale),
                long => Cell::Text(format!("a decimal of {long} bytes").into()),
            }),
            (Holds::Halves, _) => of_bytes(stored, |bytes| {
                bytes.try_into().map_or(Cell::Missing, |b| Cell::Number(half(u16::from_le_bytes(b))))
            }),
            (Holds::Wide { signed }, _) => of_bytes(stored, |bytes| {
                let Ok(bytes) = bytes.try_into() else { return Cell::Missing };
                match (signed, i128::from_le_bytes(bytes)) {
                    (false, ..0) => Cell::Text(u128::from_le_bytes(bytes).to_string().into()),
                    (_, value) => whole(value),
                }
            }),
        };
        cells.map_err(line)
    }
}

fn per_second(unit: ParquetTimeUnit) -> f64 {
    match unit {
        ParquetTimeUnit::Milliseconds => 1e3,
        ParquetTimeUnit::Microseconds => 1e6,
        ParquetTimeUnit::Nanoseconds => 1e9,
    }
}

fn time_unit(unit: ParquetTimeUnit) -> TimeUnit {
    match unit {
        ParquetTimeUnit::Milliseconds => TimeUnit::Milliseconds,
        ParquetTimeUnit::Microseconds => TimeUnit::Microseconds,
        ParquetTimeUnit::Nanoseconds => TimeUnit::Nanoseconds,
    }
}

fn of_wholes(stored: &Series, cell: impl Fn(i64) -> Cell<'static>) -> PolarsResult<Vec<Cell<'static>>> {
    let values = stored.cast(&DataType::Int64)?;
    Ok(values.i64()?.iter().map(|value| value.map_or(Cell::Missing, &cell)).collect())
}

fn of_bytes(stored: &Series, cell: impl Fn(&[u8]) -> Cell<'static>) -> PolarsResult<Vec<Cell<'static>>> {
    Ok(stored.binary()?.iter().map(|value| value.map_or(Cell::Missing, &cell)).collect())
}

/// Days and moments as they are written.
fn written(stored: &Series, as_a: &DataType) -> PolarsResult<Vec<Cell<'static>>> {
    let texts = stored.cast(as_a)?.cast(&DataType::String)?;
    Ok(texts.str()?.iter().map(|text| text.map_or(Cell::Missing, |text| Cell::Text(text.to_string().into()))).collect())
}

fn texts(stored: &Series, file: usize) -> Result<Vec<Cell<'static>>, String> {
    let values = stored.binary().map_err(line)?;
    // A text that many rows share is stored once, and copied for each.
    let total = values.iter().flatten().try_fold(0usize, |total, value| total.checked_add(value.len()));
    let most = LONG.saturating_mul(values.len()).saturating_add(file.saturating_mul(16));
    if total.is_none_or(|total| total > most) {
        return Err(format!("its texts repeat, and are longer than {LONG} bytes on average"));
    }
    let text = |(row, value): (usize, Option<&[u8]>)| match value.map(std::str::from_utf8) {
        None => Ok(Cell::Missing),
        Some(Ok(text)) => Ok(Cell::Text(text.to_string().into())),
        Some(Err(_)) => Err(format!("text {} of a group of rows is not UTF-8", row + 1)),
    };
    values.iter().enumerate().map(text).collect()
}

/// A whole number over a power of ten; one that double precision may not tell from its neighbours stays a text, which
/// is the number as it is.
fn decimal(digits: String, scale: usize) -> Cell<'static> {
    let text = if scale == 0 { digits.clone() } else { format!("{digits}e-{scale}") };
    match text.parse() {
        Ok(number) if digits.trim_start_matches('-').len() <= f64::DIGITS as usize => Cell::Number(number),
        _ => Cell::Text(text.into()),
    }
}

/// The decimal digits of a whole number in two's complement, the highest byte first.
fn digits(bytes: &[u8]) -> String {
    const LIMB: u64 = 1_000_000_000;
    let negative = bytes.first().is_some_and(|byte| *byte > 127);
    // Below 0, the size is that of the complement, plus one.
    let flip = if negative { 0xff } else { 0 };
    let mut limbs = vec![0u64];
    let times_and_plus = |limbs: &mut Vec<u64>, factor: u64, more: u64| {
        let mut carry = more;
        for limb in limbs.iter_mut() {
            let value = *limb * factor + carry;
            (*limb, carry) = (value % LIMB, value / LIMB);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    };
    bytes.iter().for_each(|byte| times_and_plus(&mut limbs, 256, u64::from(byte ^ flip)));
    times_and_plus(&mut limbs, 1, u64::from(negative));
    let (first, rest) = limbs.split_last().unwrap_or((&0, &[]));
    let head = format!("{}{first}", if negative { "-" } else { "" });
    rest.iter().rev().fold(head, |text, limb| format!("{text}{limb:09}"))
}
