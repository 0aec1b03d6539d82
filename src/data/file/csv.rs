//! Comma-separated values with a header, as RFC 4180 has them; semicolons and tabs separate, too, where the header
//! has them.

use super::{Cell, TableError, TableFile, Uneven};

/// Reads a table.
pub fn read(file: String, bytes: Vec<u8>) -> Result<TableFile, TableError> {
    if bytes.contains(&0) {
        return Err(TableError::NotOfFormat { file, format: "CSV", error: "it holds zero bytes".into() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        TableError::NotUtf8 { file: file.clone(), offset, line }
    })?;
    if !text.contains('\n') && text.trim_end_matches('\r').contains('\r') {
        return Err(TableError::LineEnds(file));
    }
    let text = text.trim_start_matches('\u{feff}');
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    if header.is_empty() {
        return Err(TableError::Empty(file));
    }
    let count = |separator: char| header.matches(separator).count();
    let separator =
        [';', '\t'].into_iter().fold(',', |best, other| if count(other) > count(best) { other } else { best });
    let mut rows = CsvRows { text, at: 0, line: 1, separator };
    let mut names: Vec<String> = Vec::new();
    let mut cells: Vec<Vec<Cell>> = Vec::new();
    let mut lines = Vec::new();
    // Blank lines below the header of a file with one column, which are values that are missing if a row follows.
    let mut blank = Vec::new();
    let mut ragged: Option<TableError> = None;
    while let Some((line, row, is_blank)) =
        rows.next().map_err(|line| TableError::Unclosed { file: file.clone(), line })?
    {
        if names.is_empty() {
            if !is_blank {
                names = row.into_iter().map(|name| name.trim().to_string()).collect();
                cells = vec![Vec::new(); names.len()];
            }
            continue;
        }
        if is_blank {
            if names.len() == 1 {
                blank.push(line);
            }
            continue;
        }
        if let Some(error) = ragged {
            return Err(error);
        }
        for line in blank.drain(..) {
            lines.push(line);
            cells[0].push(Cell::Missing);
        }
        if row.len() != names.len() {
            let (found, expected) = (row.len(), names.len());
            let why = why_ragged(header, &names, &row);
            let error = TableError::Ragged { file: file.clone(), row: lines.len() + 1, line, found, expected, why };
            ragged = Some(error);
            continue;
        }
        lines.push(line);
        for (column, text) in cells.iter_mut().zip(row) {
            column.push(if text.trim().is_empty() { Cell::Missing } else { Cell::Text(text) });
        }
    }
    match ragged {
        Some(TableError::Ragged { file, row, line, found, expected, why: Uneven::Short }) => {
            Err(TableError::Ragged { file, row, line, found, expected, why: Uneven::Cut })
        }
        Some(error) => Err(error),
        None => Ok(TableFile::of_cells(file, names, cells, lines)),
    }
}

/// What is the likely cause of a row whose cells are not as many as the names.
fn why_ragged(header: &str, names: &[String], row: &[String]) -> Uneven {
    let is_comment = header.trim_start().starts_with(['#', '%']);
    match row.len() {
        found if is_comment || names.len() == 1 && found > 1 => {
            Uneven::Header(header.trim().chars().take(40).flat_map(char::escape_debug).collect())
        }
        found if found < names.len() => Uneven::Short,
        found if found == names.len() + 1 && row[found - 1].trim().is_empty() => Uneven::Trailing,
        _ => Uneven::Long,
    }
}

/// Rows of a text, one after the other.
struct CsvRows<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    separator: char,
}

impl CsvRows<'_> {
    /// The next row, with the line it begins in, and whether it is blank; or the line of quotes that never close.
    fn next(&mut self) -> Result<Option<(usize, Vec<String>, bool)>, usize> {
        if self.at >= self.text.len() {
            return Ok(None);
        }
        let line = self.line;
        let (row, quotes) = self.row()?;
        let is_blank = !quotes && row.len() == 1 && row[0].trim().is_empty();
        Ok(Some((line, row, is_blank)))
    }

    /// The cells of a row, and whether one of them was quoted.
    fn row(&mut self) -> Result<(Vec<String>, bool), usize> {
        let (mut row, mut cell) = (Vec::new(), String::new());
        // Whether the cell holds nothing but blanks yet, which is known without looking at all of it again.
        let (mut empty, mut quotes) = (true, false);
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
                (None, '"') if empty => {
                    cell.clear();
                    (empty, quotes) = (false, true);
                    quoted = Some(self.line);
                }
                (None, '\n') => {
                    self.at = begun + i + 1;
                    break;
                }
                (None, '\r') if chars.peek().is_none_or(|(_, next)| *next == '\n') => {}
                (None, c) if c == self.separator => {
                    row.push(std::mem::take(&mut cell));
                    empty = true;
                }
                (_, c) => {
                    empty &= c.is_whitespace();
                    cell.push(c);
                }
            }
        }
        match quoted {
            Some(line) => Err(line),
            None => {
                row.push(cell);
                Ok((row, quotes))
            }
        }
    }
}
