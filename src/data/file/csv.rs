//! Comma-separated values with a header, as RFC 4180 has them; semicolons and tabs separate, too, where the header
//! has them.

use super::{Cell, TableError, TableFile};

/// Reads a table.
pub fn read(file: String, bytes: Vec<u8>) -> Result<TableFile, TableError> {
    let not_csv = |error: String| TableError::NotOfFormat { file: file.clone(), format: "CSV", error };
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        not_csv(format!("byte {offset} (line {line}) belongs to no UTF-8 character"))
    })?;
    if text.contains('\0') {
        return Err(not_csv("it holds zero bytes".into()));
    }
    let text = text.trim_start_matches('\u{feff}');
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    if header.is_empty() {
        return Err(TableError::Empty(file));
    }
    let count = |separator: char| header.matches(separator).count();
    let separator =
        [';', '\t'].into_iter().fold(',', |best, other| if count(other) > count(best) { other } else { best });
    let mut rows = Rows { text, at: 0, line: 1, separator };
    let mut names: Vec<String> = Vec::new();
    let mut cells: Vec<Vec<Cell>> = Vec::new();
    let mut lines = Vec::new();
    while let Some((line, row)) = rows.next().map_err(|line| TableError::Unclosed { file: file.clone(), line })? {
        if names.is_empty() {
            names = row.into_iter().map(|name| name.trim().to_string()).collect();
            cells = vec![Vec::new(); names.len()];
            continue;
        }
        if row.len() != names.len() {
            let (found, expected) = (row.len(), names.len());
            return Err(TableError::Ragged { file, row: lines.len() + 1, line, found, expected });
        }
        lines.push(line);
        for (column, text) in cells.iter_mut().zip(row) {
            column.push(if text.trim().is_empty() { Cell::Missing } else { Cell::Text(text) });
        }
    }
    Ok(TableFile { file, names, cells, lines, digest: String::new() })
}

/// Rows of a text, one after the other.
struct Rows<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    separator: char,
}

impl Rows<'_> {
    /// The next row that is not blank, with the line it begins in; or the line of quotes that never close.
    fn next(&mut self) -> Result<Option<(usize, Vec<String>)>, usize> {
        while self.at < self.text.len() {
            let line = self.line;
            let row = self.row()?;
            if row.len() > 1 || row.iter().any(|cell| !cell.trim().is_empty()) {
                return Ok(Some((line, row)));
            }
        }
        Ok(None)
    }

    fn row(&mut self) -> Result<Vec<String>, usize> {
        let (mut row, mut cell) = (Vec::new(), String::new());
        let mut quoted = None;
        let mut chars = self.text[self.at..].char_indices().peekable();
        let begun = self.at;
        self.at = self.text.len();
        while let Some((i, c)) = chars.next() {
            if c == '\n' {
                self.line += 1;
            }
            match (quoted, c) {
                (Some(_), '"') if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                    cell.push('"');
                    chars.next();
                }
                (Some(_), '"') => quoted = None,
                (None, '"') if cell.trim().is_empty() => {
                    cell.clear();
                    quoted = Some(self.line);
                }
                (None, '\n') => {
                    self.at = begun + i + 1;
                    break;
                }
                (None, '\r') if chars.peek().is_none_or(|(_, next)| *next == '\n') => {}
                (None, c) if c == self.separator => row.push(std::mem::take(&mut cell)),
                (_, c) => cell.push(c),
            }
        }
        match quoted {
            Some(line) => Err(line),
            None => {
                row.push(cell);
                Ok(row)
            }
        }
    }
}
