//! What can be wrong with a table, in words: the file, the row, the column, and one next step.

use crate::data::memory::NoRoom;

/// Why a table cannot be read, or a column not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        error: String,
        /// Whether it is something that can be read once at most.
        special: bool,
    },
    /// It takes more memory than there is.
    #[error("{file}: {error}")]
    NoRoom {
        /// The file.
        file: String,
        /// How much is needed, and left.
        error: NoRoom,
    },
    /// Nothing is in the file.
    #[error("{0}: the file is empty")]
    Empty(String),
    /// There are names of columns, and nothing below.
    #[error("{0}: there is a header, but no row below it")]
    NoRows(String),
    /// The contents are not what the ending of the name says.
    #[error("{file}: not {format}: {error}")]
    NotOfFormat {
        /// The file.
        file: String,
        /// What it should be.
        format: &'static str,
        /// Why it is not.
        error: String,
    },
    /// Quotes open and never close.
    #[error("{file}: the quotes that open in line {line} never close")]
    Unclosed {
        /// The file.
        file: String,
        /// Where they open.
        line: usize,
    },
    /// Its bytes are not UTF-8.
    #[error("{file}: not UTF-8: byte {offset} (line {line}) belongs to no character")]
    NotUtf8 {
        /// The file.
        file: String,
        /// Offset of the first bad byte.
        offset: usize,
        /// Its line.
        line: usize,
    },
    /// Its characters have two bytes each.
    #[error("{file}: this is UTF-16, and UTF-8 is read")]
    Utf16 {
        /// The file.
        file: String,
        /// What `iconv` calls it.
        called: &'static str,
    },
    /// It is a zip archive.
    #[error("{file}: this is a zip archive{}", if *.arrays { " of arrays (.npz), and an array of its own (.npy) is read" } else { "" })]
    Zip {
        /// The file.
        file: String,
        /// Whether arrays of NumPy are in it.
        arrays: bool,
    },
    /// A line goes on behind what ends lines elsewhere.
    #[error("{file}: line {line} has a carriage return inside of it, without a line feed")]
    LoneReturn {
        /// The file.
        file: String,
        /// The line.
        line: usize,
    },
    /// Lines end as no system of today ends them.
    #[error("{0}: its lines end in carriage returns alone, so all of it is one line")]
    LineEnds(String),
    /// There are no columns.
    #[error("{0}: there is no column")]
    NoColumns(String),
    /// An array has no rows.
    #[error("{0}: there is no row")]
    Rowless(String),
    /// Whole numbers that differ are one number in double precision.
    #[error("{file}: column `{column}` holds different numbers, but in double precision all are equal to {value}")]
    Merged {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// The value.
        value: String,
    },
    /// A row has more or fewer cells than the header.
    #[error("{file}: row {row} (line {line}) has {found} cells, but the header has {expected}")]
    Ragged {
        /// The file.
        file: String,
        /// The row, from 1, below the header.
        row: usize,
        /// Its line.
        line: usize,
        /// Its cells.
        found: usize,
        /// Cells of the header.
        expected: usize,
        /// What probably is the cause.
        why: Uneven,
    },
    /// Two columns have one name.
    #[error("{file}: two columns are called `{name}`")]
    Duplicate {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
    /// No column has this name.
    #[error("{file} has no column `{name}`")]
    Unknown {
        /// The file.
        file: String,
        /// The name that was asked for.
        name: String,
    },
    /// An array is no table of numbers.
    #[error("{file} holds {holds}, not a table of numbers")]
    NoTable {
        /// The file.
        file: String,
        /// What it holds.
        holds: String,
    },
    /// A column holds what cannot be what it is named for.
    #[error("{file}: column `{column}` holds {holds}, not {needed}")]
    Holds {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What it holds.
        holds: &'static str,
        /// What is needed.
        needed: &'static str,
    },
    /// The pages of a column cannot be read.
    #[error("{file}: column `{column}` cannot be read: {error}")]
    Column {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// Why.
        error: String,
    },
    /// A cell is empty.
    #[error("{file}: {place}, column `{column}`: no value")]
    Missing {
        /// The file.
        file: String,
        /// Row and line.
        place: String,
        /// The column.
        column: String,
        /// Bad cells of this column beside the first.
        more: usize,
    },
    /// A cell does not hold a finite number.
    #[error("{file}: {place}, column `{column}`: `{text}` is not a number")]
    NotANumber {
        /// The file.
        file: String,
        /// Row and line.
        place: String,
        /// The column.
        column: String,
        /// What it holds.
        text: String,
        /// Bad cells of this column beside the first.
        more: usize,
    },
    /// A cell holds a number beyond those of single precision.
    #[error("{file}: {place}, column `{column}`: {value} is too large for single precision")]
    TooLarge {
        /// The file.
        file: String,
        /// Row and line.
        place: String,
        /// The column.
        column: String,
        /// What it holds.
        value: String,
    },
    /// A column whose unit is to be fitted holds one value.
    #[error("{file}: column `{column}` is {value} in every row")]
    Constant {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// The value.
        value: String,
    },
}

/// Why a row has not as many cells as the header, as far as can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uneven {
    /// It has more.
    Long,
    /// It has fewer.
    Short,
    /// It has fewer and is the last.
    Cut,
    /// It has one more, which is empty.
    Trailing,
    /// It would be a number, this one, if its comma were a point.
    DecimalComma(String),
    /// This was taken for the header, and probably is something else.
    Header(String),
}

impl Uneven {
    fn help(&self) -> String {
        match self {
            Uneven::Long => "a comma inside of a cell needs quotes around the cell".into(),
            Uneven::Short => "the row is too short; a cell without a value still needs its separator".into(),
            Uneven::Cut => "the last row is too short, as if its writer had been stopped; complete or remove it".into(),
            Uneven::Trailing => {
                "its last cell is empty: the row ends in a separator; remove it, or end the header in one, too".into()
            }
            Uneven::DecimalComma(text) => {
                format!("a comma separates cells; if `{text}` is a number, write `{}`", text.replace(',', "."))
            }
            Uneven::Header(text) => {
                format!("`{text}` was taken for the header; let the names of the columns be the first line")
            }
        }
    }
}

impl TableError {
    /// One next step.
    pub fn help(&self) -> Option<String> {
        let cells = |more: &usize| match more {
            0 => String::new(),
            1 => "; another cell of this column is wrong, too".into(),
            more => format!("; {more} more cells of this column are wrong, too"),
        };
        match self {
            TableError::NotUtf8 { .. } => Some("save it as UTF-8".into()),
            TableError::Utf16 { file, called } => {
                Some(format!("convert it: `iconv -f {called} -t UTF-8 {file} > NEW.csv`"))
            }
            TableError::Zip { arrays: true, .. } => {
                Some("save the array by itself: `np.save(\"NAME.npy\", array)`".into())
            }
            TableError::Zip { .. } => Some("unpack it, or save a sheet of a workbook as CSV".into()),
            TableError::LoneReturn { .. } | TableError::LineEnds(_) => {
                Some("let lines end in a line feed (\\n)".into())
            }
            TableError::Merged { .. } => {
                Some("whole numbers are told apart up to 2^53; subtract a constant before they are written".into())
            }
            TableError::Missing { more, .. } => Some(format!("fill the cell or leave the row out{}", cells(more))),
            TableError::NotANumber { more, .. } => {
                Some(format!("write a number with a decimal point, or leave the column out{}", cells(more)))
            }
            TableError::Constant { .. } => {
                Some("a column that never changes tells nothing; leave it out, or say `scale = \"none\"`".into())
            }
            TableError::TooLarge { .. } => {
                Some(format!("numbers are at most {:.1e}; give the column in a larger unit", f32::MAX))
            }
            TableError::NotOfFormat { .. } => {
                Some("the ending of its name says what a file holds: .csv, .parquet or .npy".into())
            }
            TableError::NoTable { .. } => {
                Some("save an array of one or two dimensions, of type f2, f4, f8, integer, or boolean".into())
            }
            TableError::Holds { needed, .. } => Some(format!("name a column of {needed}, or write this one as such")),
            TableError::Column { .. } => Some("write the file anew, or name another column".into()),
            TableError::Ragged { why, .. } => Some(why.help()),
            TableError::Unreadable { special: true, .. } => {
                Some("data are read more than once; write them to a file and name that".into())
            }
            TableError::NoRoom { .. } => {
                Some("leave out rows and columns that are not needed, or give the process more memory".into())
            }
            TableError::Unreadable { .. }
            | TableError::Empty(_)
            | TableError::NoRows(_)
            | TableError::NoColumns(_)
            | TableError::Rowless(_)
            | TableError::Unclosed { .. }
            | TableError::Duplicate { .. }
            | TableError::Unknown { .. } => None,
        }
    }
}
