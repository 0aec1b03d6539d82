//! Inputs that are made to be large, deep or wide: just as many bytes as are read, and what takes the most of them.

use super::{bounded, reasoned};
use runner::data::file::TableFile;
use runner::registry::Registry;
use runner::spec::source::Sources;
use runner::spec::{self, Overrides};

/// Bytes of each, a little less than an experiment may have.
const SIZE: usize = 1_000_000;

/// An experiment in three parts, so that something may stand in each.
const BEGIN: &str = "name = \"large\"\n";
const LAYERS: &str = "[data]\nkind = \"sqrt\"\nsteps = 4\n[[layer]]\nname = \"out\"\nkind = \"linear\"\nsize = 1\n";
const END: &str = "[optimizer]\nkind = \"sgd\"\nlr = 0.1\n[train]\niterations = 1\nloss = \"mse\"\n";

/// A piece again and again, its `#` the number of the time.
fn many(piece: &str) -> String {
    let mut text = String::with_capacity(SIZE);
    let mut i = 0;
    while text.len() + piece.len() + 8 < SIZE {
        text += &piece.replace('#', &i.to_string());
        i += 1;
    }
    text
}

fn list(before: &str, item: &str, after: &str) -> String {
    format!("{before}{}{after}", many(item).trim_end_matches(','))
}

#[test]
fn an_experiment_that_is_large_deep_or_wide_is_read_or_refused_within_seconds() {
    let whole = format!("{BEGIN}{LAYERS}{END}");
    let behind = |more: &str| format!("{whole}{more}");
    let inside = |more: &str| format!("{BEGIN}{LAYERS}{more}{END}");
    let texts = [
        ("unknown keys", format!("{BEGIN}{}{LAYERS}{END}", many("key# = 1\n"))),
        ("unknown tables", behind(&many("[t#]\n"))),
        ("names", behind(&format!("[let]\n{}", many("a# = #\n")))),
        ("names that need one", behind(&format!("[let]\nb = 1\n{}", many("a# = \"=b\"\n")))),
        ("names that need what is not there", behind(&format!("[let]\n{}", many("a# = \"=none#\"\n")))),
        ("formulas of what is not there", behind(&list("[run]\nseeds = [", "\"=none#\",", "]\n"))),
        ("layers", inside(&many("[[layer]]\nname = \"l#\"\nkind = \"linear\"\nsize = 1\n"))),
        ("layers of one name", inside(&many("[[layer]]\nname = \"l\"\nkind = \"linear\"\nsize = 1\n"))),
        ("layers of nothing", inside(&many("[[layer]]\n"))),
        ("seeds", behind(&list("[run]\nseeds = [", "#,", "]\n"))),
        ("the same seed", behind(&list("[run]\nseeds = [", "1,", "]\n"))),
        ("values", behind(&list("[sweep.over]\n\"optimizer.lr\" = [", "#.5,", "]\n"))),
        ("the same value", behind(&list("[sweep.over]\n\"optimizer.lr\" = [", "1,", "]\n"))),
        ("dimensions", behind(&format!("[sweep.over]\n{}", many("\"layer.out.a#\" = [1]\n")))),
        ("dimensions without a name", behind(&format!("[sweep.over]\n{}", many("a# = [1]\n")))),
        ("variants", behind(&format!("[sweep.variants]\n{}", many("v# = {}\n")))),
        ("metrics", whole.replace("loss = \"mse\"", &list("loss = \"mse\"\nmetrics = [", "\"l1\",", "]"))),
        ("losses", whole.replace("loss = \"mse\"", &list("loss = [", "\"mse\",", "]"))),
        ("losses of no name", whole.replace("loss = \"mse\"", &list("loss = [", "\"mse#\",", "]"))),
        ("a long line", behind(&format!("[let]\na = \"{}\"\n", many("x")))),
        ("a long key", behind(&format!("[let]\n{} = 1\n", many("x")))),
        ("a long path", behind(&format!("[let]\na{} = 1\n", many(".a")))),
        ("a long sum", behind(&format!("[let]\na = \"={}1\"\n", many("1+")))),
        ("a long power", behind(&format!("[let]\na = \"={}1\"\n", many("2^")))),
        ("a long sign", behind(&format!("[let]\na = \"={}1\"\n", many("-")))),
        ("parentheses", behind(&format!("[let]\na = \"={}\"\n", many("(")))),
        ("calls", behind(&format!("[let]\na = \"={}\"\n", many("exp(")))),
        ("names in a formula", behind(&format!("[let]\na = \"={}1\"\n", many("b#+")))),
        ("brackets", behind(&format!("a = {}", many("[")))),
        ("braces", behind(&format!("a = {}", many("{a=")))),
        ("mistakes", many("= \n")),
        ("quotes", many("\"")),
        ("blank lines", many("\n")),
        ("carriage returns", whole.replace('\n', "\r").repeat(SIZE / whole.len())),
        ("spaces", many(" ")),
        ("comments", many("#\n")),
        ("zeros", many("\0")),
    ];
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.toml");
    for (name, text) in texts {
        std::fs::write(&file, &text).unwrap();
        let took = bounded(text.len(), || {
            let mut sources = sources.clone();
            if let Err(found) = spec::read(&file, &Overrides::default(), &registry, &mut sources) {
                reasoned(&found, &sources);
            }
        });
        println!("{name}: {took:?}");
    }
}

#[test]
fn a_table_that_is_large_or_wide_is_read_or_refused_within_seconds() {
    let npy = |descr: &str, order: &str, shape: &str, body: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        [b"\x93NUMPY\x02\0", &(header.len() as u32).to_le_bytes()[..], header.as_bytes(), body].concat()
    };
    let ones = vec![1; SIZE - 100];
    let text = |text: String| text.into_bytes();
    let tables = [
        ("csv", text(format!("x,y\n{}", many("#,1\n")))),
        ("csv", text(format!("x,y\n{}", many("a,b\n")))),
        ("csv", text(format!("{}x\n", many("c#,")))),
        ("csv", text(format!("{}x\n{}1\n", "c,".repeat(9), many("1,")))),
        ("csv", text(many(","))),
        ("csv", text(format!("x\n{}", many("\n")))),
        ("csv", text(format!("x\n{}1\n", many("\n")))),
        ("csv", text(format!("x,y\n{}", many("\"")))),
        ("csv", text(format!("x,y\n{}", many("\"\",\"\"\"\"\n")))),
        ("csv", text(format!("x,y\n1,{}\n", many("9")))),
        ("csv", text(format!("x,{}\n1,2\n", many("y")))),
        ("csv", text(many(" \n"))),
        ("csv", text(many("\t\n"))),
        ("npy", npy("|u1", "False", "(1, 999900)", &ones)),
        ("npy", npy("|b1", "True", "(499950, 2)", &ones)),
        ("npy", npy("<u8", "False", "(124000,)", &vec![255; SIZE])),
        ("npy", npy("<f8", "False", "(0, 18446744073709551615)", &[])),
        ("npy", npy("<f8", "False", "(18446744073709551615, 0)", &[])),
        ("npy", npy("<f8", "False", "(4294967296, 4294967296)", &ones)),
        ("npy", npy("<f8", "False", &format!("({})", many("1,")), &[])),
        ("npy", npy("<f8", "False", &many("("), &[])),
        ("npy", npy(&many("x"), "False", "(2, 2)", &[])),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (i, (ending, bytes)) in tables.into_iter().enumerate() {
        let file = folder.path().join(format!("{i}.{ending}"));
        std::fs::write(&file, &bytes).unwrap();
        let took = bounded(bytes.len(), || match TableFile::read(&file, false) {
            Ok(table) => {
                for name in ["x", "y", "0"] {
                    let _ = (table.numbers(name).map_err(|error| table.help(&error)), table.texts(name));
                }
            }
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains(&file.display().to_string()) && said.len() < 1000, "{said}");
                assert!(error.help().is_none_or(|help| help.len() < 1000));
            }
        });
        println!("table {i}: {took:?}");
    }
}
