//! Comma-separated values with a header, as RFC 4180 has them; semicolons and tabs separate, too, where the header
//! has them.
//!
//! The text stays as it is, and of each cell is known where it begins: what it holds is read when it is asked for.

use super::{Cell, TableError, Uneven};
use crate::data::memory;
use std::borrow::Cow;

/// A table as text.
#[derive(Debug)]
pub struct CsvTable {
    text: String,
    separator: u8,
    /// Columns; none before the header was read.
    width: usize,
    /// Where cells begin, one row after the other.
    cells: Vec<usize>,
}

/// Reads a table, with the names of its columns.
pub fn read(file: String, bytes: Vec<u8>) -> Result<(Vec<String>, CsvTable), TableError> {
    if bytes.contains(&0) {
        return Err(TableError::NotOfFormat { file, format: "CSV", error: "it holds zero bytes".into() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        TableError::NotUtf8 { file: file.clone(), offset, line }
    })?;
    let begins = text.len() - text.trim_start_matches('\u{feff}').len();
    let header = text[begins..].lines().find(|line| !line.trim().is_empty()).unwrap_or("").to_string();
    if header.is_empty() {
        return Err(TableError::Empty(file));
    }
    if !text.contains('\n') && text.trim_end_matches('\r').contains('\r') {
        return Err(TableError::LineEnds(file));
    }
    if !header.contains('"') && header.trim_end_matches('\r').contains('\r') {
        let line = 1 + text[..text.find(&header).unwrap_or(0)].matches('\n').count();
        return Err(TableError::LoneReturn { file, line });
    }
    let count = |separator: u8| header.bytes().filter(|byte| *byte == separator).count();
    let separator =
        [b';', b'\t'].into_iter().fold(b',', |best, other| if count(other) > count(best) { other } else { best });
    // A cell ends in a separator or in a line end.
    let ends = text.bytes().filter(|byte| *byte == separator || *byte == b'\n').count();
    let room = |error| TableError::NoRoom { file: file.clone(), error };
    memory::check(ends.saturating_mul(size_of::<usize>())).map_err(room)?;
    let table = CsvTable { text, separator, width: 0, cells: Vec::with_capacity(ends + 1) };
    table.of_rows(file, &header, begins)
}

/// What `iconv` calls the encoding of a text that begins so, where its characters have two bytes: it has a mark of the
/// order of bytes, or every second byte is 0, as in plain English.
pub fn utf16(begins: &[u8]) -> Option<&'static str> {
    let zeros = |first: usize| begins.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, half) = (zeros(0), zeros(1), begins.len() / 2);
    match begins {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ if half > 0 && even == 0 && odd == half => Some("UTF-16LE"),
        _ if half > 0 && odd == 0 && even >= half => Some("UTF-16BE"),
        _ => None,
    }
}

impl CsvTable {
    /// Finds the cells, from the line of names on, which begins somewhere.
    fn of_rows(mut self, file: String, header: &str, mut at: usize) -> Result<(Vec<String>, CsvTable), TableError> {
        let (mut names, mut row) = (Vec::new(), Vec::new());
        // Blank lines below the header of a file with one column, which are values that are missing if a row follows.
        let mut blank = Vec::new();
        let mut ragged: Option<TableError> = None;
        while at < self.text.len() {
            let begins = at;
            row.clear();
            let is_blank = self.row(&mut at, &mut row);
            let is_blank = is_blank.map_err(|at| TableError::Unclosed { file: file.clone(), line: self.line(at) })?;
            if self.width == 0 {
                if !is_blank {
                    names = row.iter().map(|at| self.cell(*at).trim().to_string()).collect();
                    self.width = names.len();
                }
            } else if is_blank {
                blank.extend((self.width == 1).then_some(begins));
            } else if let Some(error) = ragged {
                return Err(error);
            } else {
                self.cells.append(&mut blank);
                match row.len() == self.width {
                    true => self.cells.extend(&row),
                    false => ragged = Some(self.ragged(&file, header, &row)),
                }
            }
        }
        match ragged {
            Some(TableError::Ragged { file, row, line, found, expected, why: Uneven::Short }) => {
                Err(TableError::Ragged { file, row, line, found, expected, why: Uneven::Cut })
            }
            Some(error) => Err(error),
            None => Ok((names, self)),
        }
    }

    /// Goes over the next row and adds where its cells begin; whether it is blank, or where quotes open that never close.
    fn row(&self, at: &mut usize, cells: &mut Vec<usize>) -> Result<bool, usize> {
        loop {
            let cell = self.scan(*at)?;
            cells.push(*at);
            *at = cell.next;
            if cell.is_last {
                return Ok(cells.len() == 1 && !cell.quoted && cell.text.trim().is_empty());
            }
        }
    }

    /// Reads the cell that begins somewhere; or gives where quotes open that never close.
    fn scan(&self, at: usize) -> Result<ScannedCell<'_>, usize> {
        let bytes = self.text.as_bytes();
        let ends = |byte: &u8| *byte == self.separator || *byte == b'\n';
        let find = |from: usize, what: &dyn Fn(&u8) -> bool| bytes[from..].iter().position(what).map(|i| from + i);
        let mut begins = at;
        // What stands between quotes, where there are any.
        let mut quoted: Option<String> = None;
        if let Some(quotes) = find(at, &|byte| *byte == b'"' || ends(byte)).filter(|i| bytes[*i] == b'"')
            && self.text[at..quotes].trim().is_empty()
        {
            let inside = quoted.insert(String::new());
            begins = quotes + 1;
            loop {
                let close = find(begins, &|byte| *byte == b'"').ok_or(quotes)?;
                inside.push_str(&self.text[begins..close]);
                begins = close + 1;
                if bytes.get(begins) != Some(&b'"') {
                    break;
                }
                inside.push('"');
                begins += 1;
            }
        }
        let end = find(begins, &ends).unwrap_or(bytes.len());
        let is_last = bytes.get(end) != Some(&self.separator);
        let rest = &self.text[begins..end];
        let rest = rest.strip_suffix('\r').filter(|_| is_last).unwrap_or(rest);
        let is_quoted = quoted.is_some();
        let text = quoted.map_or(Cow::Borrowed(rest), |inside| Cow::Owned(inside + rest));
        Ok(ScannedCell { text, quoted: is_quoted, next: end + 1, is_last })
    }

    /// The text of a cell that was found.
    fn cell(&self, at: usize) -> Cow<'_, str> {
        self.scan(at).map_or_else(|_| Cow::default(), |cell| cell.text)
    }

    /// The line that a byte is in, from 1.
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Rows below the header.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.width
    }

    /// The line that a row begins in, from 1.
    pub fn line_of(&self, row: usize) -> usize {
        self.cells.get(row * self.width).map_or(0, |at| self.line(*at))
    }

    /// The cells of a column.
    pub fn column(&self, place: usize) -> impl Iterator<Item = Cell<'_>> {
        let cell = |at: &usize| match self.cell(*at) {
            text if text.trim().is_empty() => Cell::Missing,
            text => Cell::Text(text),
        };
        self.cells.iter().skip(place).step_by(self.width).map(cell)
    }

    /// What is wrong with a row whose cells are not as many as the names.
    fn ragged(&self, file: &str, header: &str, row: &[usize]) -> TableError {
        let cells: Vec<Cow<'_, str>> = row.iter().map(|at| self.cell(*at)).collect();
        if cells.iter().any(|cell| has_lone_return(cell)) {
            return TableError::LoneReturn { file: file.into(), line: self.line(row[0]) };
        }
        TableError::Ragged {
            file: file.into(),
            row: self.rows() + 1,
            line: self.line(row[0]),
            found: cells.len(),
            expected: self.width,
            why: why_ragged(header, self.width, &cells),
        }
    }
}

/// A cell, and what comes behind it.
struct ScannedCell<'a> {
    text: Cow<'a, str>,
    /// Whether quotes stand around it.
    quoted: bool,
    /// Where the next one begins.
    next: usize,
    /// Whether it is the last one of its row.
    is_last: bool,
}

/// What is the likely cause of a row whose cells are not as many as the names.
fn why_ragged(header: &str, expected: usize, row: &[Cow<'_, str>]) -> Uneven {
    let is_comment = header.trim_start().starts_with(['#', '%']);
    if expected == 1 && !is_comment && is_decimal(row) {
        return Uneven::DecimalComma(row.join(",").trim().into());
    }
    match row.len() {
        found if is_comment || expected == 1 && found > 1 => {
            Uneven::Header(header.trim().chars().take(40).flat_map(char::escape_debug).collect())
        }
        found if found < expected => Uneven::Short,
        found if found == expected + 1 && row[found - 1].trim().is_empty() => Uneven::Trailing,
        _ => Uneven::Long,
    }
}

/// Whether two cells are a number with a decimal comma.
fn is_decimal(row: &[Cow<'_, str>]) -> bool {
    let [whole, fraction] = row else { return false };
    let begins = fraction.starts_with(|c: char| c.is_ascii_digit());
    begins && format!("{}.{}", whole.trim(), fraction.trim()).parse::<f64>().is_ok()
}

/// Whether a carriage return stands inside of a text that belongs to no line end.
pub fn has_lone_return(text: &str) -> bool {
    let mut pieces = text.trim().split('\r').skip(1);
    pieces.any(|piece| !piece.starts_with('\n'))
}
