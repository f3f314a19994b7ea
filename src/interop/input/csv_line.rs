use csv_core::{ReadRecordResult, Reader};

use super::lines::Lines;
use super::row::RowError;

/// Takes CSV apart, each line by itself. No format here has a line end within a field, so a stray quote costs its own line and
/// never those after it.
pub(in crate::interop) struct CsvLine {
    core: Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl CsvLine {
    pub(in crate::interop) fn new() -> Self {
        Self {
            core: Reader::new(),
            fields: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Reads the header, and where each of `wanted` stands in it; those of `required` must.
    pub(in crate::interop) fn header<const N: usize>(
        &mut self,
        lines: &mut Lines,
        wanted: [&str; N],
        required: &[&str],
    ) -> Result<[Option<usize>; N], RowError> {
        let missing =
            || RowError::Format(format!("the header does not name {}", required.join(", ")));
        let header = match lines.next() {
            Some(Ok(line)) => line.to_vec(),
            Some(Err(RowError::Bad { .. })) => return Err(missing()),
            Some(Err(error)) => return Err(error),
            None => return Err(RowError::Format("it is empty".to_owned())),
        };
        self.split(&header).map_err(|_| missing())?;
        let place = |name: &str| (0..self.ends.len()).find(|&at| self.field(at) == Some(name));
        if required.iter().any(|name| place(name).is_none()) {
            return Err(missing());
        }
        Ok(wanted.map(place))
    }

    /// Takes a line apart.
    ///
    /// # Errors
    /// When a quote in it is not closed.
    pub(in crate::interop) fn split(&mut self, line: &[u8]) -> Result<(), String> {
        self.core.reset();
        // Fields never take more room than their line, and each but the last ends in a comma.
        self.fields.resize(line.len() + 1, 0);
        self.ends
            .resize(memchr::memchr_iter(b',', line).count() + 2, 0);
        let (_, _, written, ends) = self
            .core
            .read_record(line, &mut self.fields, &mut self.ends);
        let rest = self.fields.get_mut(written..).unwrap_or_default();
        let more = self.ends.get_mut(ends..).unwrap_or_default();
        let (result, _, _, last) = self.core.read_record(b"\n", rest, more);
        self.ends.truncate(ends + last);
        match result {
            ReadRecordResult::Record => Ok(()),
            _ => Err("a quote is not closed".to_owned()),
        }
    }

    /// A field of the line last taken apart, without blanks around it.
    pub(in crate::interop) fn field(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        let field = std::str::from_utf8(self.fields.get(start..end)?).ok()?;
        Some(field.trim())
    }

    /// A field that holds something.
    pub(in crate::interop) fn filled(&self, at: Option<usize>) -> Option<&str> {
        self.field(at?).filter(|field| !field.is_empty())
    }

    /// A field as a number of tokens.
    ///
    /// # Errors
    /// When it is none.
    pub(in crate::interop) fn tokens(&self, at: Option<usize>, name: &str) -> Result<u32, String> {
        self.filled(at)
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| format!("`{name}` is missing or not a whole number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(line: &str) -> Result<Vec<String>, String> {
        let mut csv = CsvLine::new();
        csv.split(b"before,\"it")
            .expect_err("the line before does not matter");
        csv.split(line.as_bytes())?;
        Ok((0..csv.ends.len())
            .map(|at| csv.field(at).unwrap().to_owned())
            .collect())
    }

    #[test]
    fn quotes_hold_commas_and_end_with_their_line() {
        assert_eq!(fields("a, b ,").unwrap(), ["a", "b", ""]);
        assert_eq!(fields(r#""a,""b""",c"#).unwrap(), [r#"a,"b""#, "c"]);
        assert!(fields(r#"a,"b,c"#).is_err());
        assert_eq!(fields("x").unwrap(), ["x"]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..60), csvish in "[a,\"\r ]{0,30}") {
            let mut csv = CsvLine::new();
            for line in [line.as_slice(), csvish.as_bytes()] {
                let _ = csv.split(line);
                prop_assert!(csv.ends.is_sorted());
                prop_assert!((0..3).filter_map(|at| csv.field(at)).all(|field| field.len() <= line.len()));
            }
        }
    }
}
