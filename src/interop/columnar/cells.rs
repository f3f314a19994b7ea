//! Cells of Arrow arrays, of whatever type a writer chose for them.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::Value;

use crate::interop::input::microseconds;

/// A cell, as far as a row may have it.
pub(super) enum Cell<'a> {
    Empty,
    Whole(u64),
    Text(&'a str),
    List(ArrayRef),
    Other,
}

/// The cell of an array at a row.
pub(super) fn cell(array: &dyn Array, row: usize) -> Cell<'_> {
    if row >= array.len() || array.is_null(row) {
        return Cell::Empty;
    }
    let signed = |number: i64| u64::try_from(number).map_or(Cell::Other, Cell::Whole);
    // Some writers have every number with a fraction.
    let real = |number: f64| match microseconds(number, 1) {
        Some(whole) if number.fract() == 0.0 => Cell::Whole(whole),
        _ => Cell::Other,
    };
    match array.data_type() {
        DataType::Int8 => signed(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => signed(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => signed(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => signed(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Cell::Whole(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Cell::Whole(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Cell::Whole(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Cell::Whole(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => real(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => real(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Cell::Whole(array.as_boolean().value(row).into()),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row)),
        DataType::List(_) => Cell::List(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Cell::List(array.as_list::<i64>().value(row)),
        _ => Cell::Other,
    }
}

/// The same as JSON, lists of lists and all; `Null` what is absent, `None` what a row cannot have.
pub(super) fn value(array: &dyn Array, row: usize) -> Option<Value> {
    Some(match cell(array, row) {
        Cell::Whole(flag) if *array.data_type() == DataType::Boolean => (flag != 0).into(),
        Cell::Whole(number) => number.into(),
        Cell::Text(text) => text.into(),
        Cell::List(list) => {
            let items = (0..list.len()).map(|row| value(&list, row));
            Value::Array(items.collect::<Option<_>>()?)
        }
        Cell::Empty => Value::Null,
        Cell::Other => return None,
    })
}

/// The numbers of a list; negative ones as the 64 bits that they are. `None` where an item is none.
pub(super) fn hashes(list: &ArrayRef) -> Option<Vec<u64>> {
    match list.data_type() {
        DataType::Int64 => {
            let numbers = list.as_primitive::<Int64Type>().iter();
            numbers
                .map(|number| number.map(i64::cast_unsigned))
                .collect()
        }
        _ => (0..list.len())
            .map(|row| match cell(list, row) {
                Cell::Whole(number) => Some(number),
                Cell::Text(text) => text.parse().ok(),
                _ => None,
            })
            .collect(),
    }
}
