//! Files that are no plain files, and tables that are strange.

use super::*;
use std::time::{Duration, Instant};

/// A small experiment on a table.
pub const TABLE: &str = r#"name = "t"
[data]
kind = "table"
path = "d.csv"
inputs = ["x"]
targets = ["y"]
steps = 1
[data.split]
by = "order"
test = 0.25
[[layer]]
name = "out"
kind = "linear"
size = 1
[optimizer]
kind = "sgd"
lr = 0.1
[train]
epochs = 2
batch = 4
loss = "mse"
[run]
seeds = [0]
"#;

const ROWS: &str = "x,y\n0,1\n1,3\n2,5\n3,7\n4,9\n5,11\n6,13\n7,15\n";

fn table() -> Sandbox {
    let sandbox = Sandbox::with("t.toml", TABLE);
    sandbox.write("d.csv", ROWS);
    sandbox
}

fn pipe(sandbox: &Sandbox, name: &str) {
    let _ = std::fs::remove_file(sandbox.path(name));
    assert!(Command::new("mkfifo").arg(sandbox.path(name)).status().unwrap().success());
}

/// What a command says and gives, which is killed where it hangs.
fn soon<const N: usize>(sandbox: &Sandbox, arguments: [&str; N]) -> Ran {
    let mut child = sandbox.command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    words.iter().for_each(|word| assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr));
}

#[cfg(unix)]
#[test]
fn pipes_devices_sockets_and_folders_are_no_data() {
    let sandbox = table();
    pipe(&sandbox, "p.csv");
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("s.csv")).unwrap();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    for (name, what) in [("p.csv", "a pipe"), ("s.csv", "a socket"), ("/dev/zero", "a device"), ("folder", "a folder")]
    {
        let set = format!("data.path=\"{name}\"");
        refused(&soon(&sandbox, ["check", "t.toml", "--set", &set]), &[name, what]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_weights_experiments_and_parents() {
    let sandbox = table();
    pipe(&sandbox, "pipe.toml");
    pipe(&sandbox, "w.safetensors");
    refused(&soon(&sandbox, ["check", "pipe.toml"]), &["a pipe"]);
    refused(&soon(&sandbox, ["check", "/dev/zero"]), &["a device"]);
    for name in ["pipe.toml", "/dev/zero"] {
        sandbox.write("child.toml", format!("extends = \"{name}\"\n{TABLE}"));
        refused(&soon(&sandbox, ["check", "child.toml"]), &[name, "not a file"]);
    }
    for name in ["w.safetensors", "/dev/zero"] {
        sandbox.write("w.toml", format!("{TABLE}\n[init]\nweights = \"{name}\"\n"));
        refused(&soon(&sandbox, ["check", "w.toml"]), &[name, "not a file"]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_in_a_folder_of_results_hang_nobody() {
    let sandbox = table();
    sandbox.fine(["run", "t.toml", "--out", "out"]);
    pipe(&sandbox, "out/.lock");
    for command in ["verify", "results", "report", "explain"] {
        let ran = match command {
            "explain" => soon(&sandbox, ["explain", "t.toml", "--out", "out"]),
            _ => soon(&sandbox, [command, "out"]),
        };
        assert!((0..=3).contains(&ran.status), "{command}: {} {}", ran.status, ran.stderr);
    }
    let ran = soon(&sandbox, ["run", "t.toml", "--out", "out", "--seeds", "1"]);
    assert!(ran.status > 0 && ran.stderr.contains("a pipe"), "{}", ran.stderr);
    for name in ["/dev/zero", "pipe"] {
        std::fs::remove_file(sandbox.path("out/manifest.json")).unwrap();
        match name {
            "pipe" => pipe(&sandbox, "out/manifest.json"),
            _ => std::os::unix::fs::symlink(name, sandbox.path("out/manifest.json")).unwrap(),
        }
        for command in ["verify", "results", "report"] {
            let ran = soon(&sandbox, [command, "out"]);
            let what =
                if name == "pipe" { "out/manifest.json: this is a pipe, not a file" } else { "a device, not a file" };
            assert!(ran.status > 0 && ran.stderr.contains(what), "{command} {name}: {} {}", ran.status, ran.stderr);
        }
    }
}

/// Makes a file of 6 GB that holds nothing.
fn sparse(sandbox: &Sandbox, name: &str) {
    std::fs::File::create(sandbox.path(name)).unwrap().set_len(6 << 30).unwrap();
}

#[test]
fn a_file_that_is_much_too_large_or_not_what_it_is_called_is_not_read() {
    let sandbox = table();
    sandbox.fine(["run", "t.toml", "--out", "out"]);
    sparse(&sandbox, "out/manifest.json");
    let said = ["out/manifest.json: the file has 6442450944 bytes; at most 1073741824 are read"];
    refused(&soon(&sandbox, ["verify", "out"]), &said);
    refused(&soon(&sandbox, ["run", "t.toml", "--out", "out"]), &said);
    for (name, whose) in [("d.parquet", "Parquet's"), ("d.npy", "NumPy's")] {
        sparse(&sandbox, name);
        let said = soon(&sandbox, ["check", "t.toml", "--set", &format!("data.path=\"{name}\"")]);
        refused(&said, &[name, &format!("it does not begin with {whose} mark")]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_gives_more_than_its_length_says_is_refused() {
    let sandbox = table();
    for name in ["/proc/self/pagemap", "/proc/self/status"] {
        let said = soon(&sandbox, ["check", "t.toml", "--set", &format!("data.path=\"{name}\"")]);
        refused(&said, &[name, "the file gives more than the 0 bytes that it says it has"]);
        sandbox.write("w.toml", format!("{TABLE}\n[init]\nweights = \"{name}\"\n"));
        refused(&soon(&sandbox, ["check", "w.toml"]), &[name, "more than the 0 bytes"]);
    }
}

/// A check of a file's data by a process with so many megabytes of address space.
#[cfg(target_os = "linux")]
fn limited(sandbox: &Sandbox, megabytes: usize, name: &str) -> Ran {
    let shell = format!("ulimit -v {megabytes}000; exec $RUNNER check t.toml --set data.path=\\\"{name}\\\"");
    let mut command = Command::new("/bin/sh");
    command.current_dir(sandbox.folder.path()).env_clear().env("RUNNER", env!("CARGO_BIN_EXE_runner"));
    command.args(["-c", &shell]).stdin(Stdio::null()).output().unwrap().into()
}

#[cfg(target_os = "linux")]
#[test]
fn a_table_that_does_not_fit_into_memory_is_refused_with_two_numbers_before_it_is_read() {
    let sandbox = table();
    let rows: String = (0..200_000).map(|i| format!("1,2,3,4,5,6,7,8,{},{}\n", i % 7, i % 5)).collect();
    sandbox.write("large.csv", format!("a,b,c,d,e,f,g,h,x,y\n{}", rows.repeat(4)));
    let numbers = vec![1; 80_000_000];
    sandbox.write("t.toml", TABLE);
    sandbox.write("large.npy", npy("|u1", "(40000000, 2)", &numbers));
    let (mut too_large, mut fine) = (0, 0);
    for megabytes in (100..2000).step_by(40) {
        // What starts and threads take differs from machine to machine.
        if limited(&sandbox, megabytes, "d.csv").status != 0 {
            continue;
        }
        if too_large == 0 {
            refused(&limited(&sandbox, megabytes, "large.npy"), &["large.npy: it takes about 80 MB of memory, and"]);
        }
        let ran = limited(&sandbox, megabytes, "large.csv");
        if ran.status == 0 {
            fine += 1;
            break;
        }
        too_large += 1;
        refused(&ran, &["large.csv: it takes about ", " MB of memory, and this process may use "]);
    }
    assert!(fine == 1 && too_large > 0, "{too_large}");
}

/// A command with a pipe for its standard input.
fn piped<const N: usize>(sandbox: &Sandbox, arguments: [&str; N], text: &str) -> Ran {
    let mut command = sandbox.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read all of that.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_refused_by_a_run_and_read_by_predict() {
    let sandbox = table();
    let ran = piped(&sandbox, ["run", "t.toml", "--out", "out", "--set", "data.path=/dev/stdin"], ROWS);
    refused(&ran, &["/dev/stdin", "a pipe", "write them to a file"]);
    sandbox.fine(["run", "t.toml", "--out", "out"]);
    let ran = piped(&sandbox, ["predict", "out", "--data", "/dev/stdin"], "x\n1\n2\n");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

fn npy(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), body].concat()
}

#[test]
fn blanks_quotes_and_many_columns_take_time_in_proportion() {
    let sandbox = table();
    let text = format!("x,y\n{}z{},1\n2,3\n", " ".repeat(400_000), "\"".repeat(400_000));
    sandbox.write("d.csv", text);
    refused(&soon(&sandbox, ["check", "t.toml"]), &["is not a number"]);
    let names: Vec<String> = (0..300_000).map(|i| format!("c{i}")).collect();
    sandbox.write("d.csv", format!("{}\n{}\n", names.join(","), vec!["1"; 300_000].join(",")));
    refused(&soon(&sandbox, ["check", "t.toml"]), &["no column `x`"]);
    sandbox.write("d.npy", npy("<f8", "(1, 1000000)", &vec![0; 8_000_000]));
    refused(&soon(&sandbox, ["check", "t.toml", "--set", "data.path=\"d.npy\""]), &["no column `x`"]);
}

#[test]
fn an_array_without_rows_or_columns_is_refused_before_it_takes_memory() {
    let sandbox = table();
    for (shape, words) in [
        ("(0, 99999999999999)", "there is no row"),
        ("(0, 18446744073709551615)", "there is no row"),
        ("(0,)", "there is no row"),
        ("(99999999999999, 0)", "there is no column"),
        ("(9999999999, 9999999999)", "too early"),
        ("(99999999999999999999999, 2)", "cannot be read"),
    ] {
        sandbox.write("d.npy", npy("<f8", shape, &[]));
        refused(&soon(&sandbox, ["check", "t.toml", "--set", "data.path=\"d.npy\""]), &[words]);
    }
}

#[test]
fn unsigned_half_and_big_endian_arrays_are_data() {
    let sandbox = table();
    sandbox.write("t.toml", TABLE.replace("\"x\"", "\"0\"").replace("\"y\"", "\"1\""));
    for (descr, size) in [("<u2", 2), ("<u4", 4), ("<u8", 8), ("<f2", 2), (">u2", 2), (">i4", 4), (">f2", 2)] {
        let body: Vec<u8> = (0..16u8)
            .flat_map(|i| {
                let mut bytes = vec![0; size];
                bytes[if descr.starts_with('>') { size - 1 } else { 0 }] = i + 1;
                bytes
            })
            .collect();
        sandbox.write("d.npy", npy(descr, "(8, 2)", &body));
        sandbox.fine(["check", "t.toml", "--set", "data.path=\"d.npy\""]);
    }
}

#[test]
fn whole_numbers_beyond_double_precision_are_said_to_merge() {
    let sandbox = table();
    let rows: String = (0..8).map(|i| format!("{},{i}\n", 1152921504606846976u64 + i)).collect();
    sandbox.write("d.csv", format!("x,y\n{rows}"));
    refused(&sandbox.runner(["check", "t.toml"]), &["column `x`", "in double precision all are equal"]);
    sandbox.write("t.toml", TABLE.replace("\"x\"", "\"0\"").replace("\"y\"", "\"1\""));
    let body: Vec<u8> = (0..16u64).flat_map(|i| ((1u64 << 63) * (1 - i % 2) + i).to_le_bytes()).collect();
    sandbox.write("d.npy", npy("<u8", "(8, 2)", &body));
    let ran = sandbox.runner(["check", "t.toml", "--set", "data.path=\"d.npy\""]);
    refused(&ran, &["column `0`", "in double precision all are equal"]);
}

#[test]
fn a_blank_line_among_the_rows_of_one_column_is_a_missing_value() {
    let sandbox = Sandbox::with(
        "t.toml",
        &TABLE
            .replace("table", "series")
            .replace("steps = 1", "window = 2")
            .replace("\"x\"", "\"v\"")
            .replace("\"y\"", "\"v\""),
    );
    // Blank lines above the header, and where two columns show that a line is no row, are nothing.
    sandbox.write("d.csv", ["\n \nv,w\n\n", &"1,2\n\n2,5\n".repeat(15)].concat());
    sandbox.fine(["check", "t.toml"]);
    for (text, place) in [
        ("v\n\n1\n2\n4\n", "row 1 (line 2)"),
        ("\n\nv\n\n1\n2\n4\n", "row 1 (line 4)"),
        ("v\r\n\r\n1\r\n2\r\n", "row 1 (line 2)"),
        ("v\n\n\n\n1\n2\n4\n\n\n", "row 1 (line 2), column `v`: no value"),
        ("v\n\"\"\n1\n2\n", "row 1 (line 2)"),
        ("v\n1\n\n\n2\n4\n", "row 2 (line 3)"),
    ] {
        sandbox.write("d.csv", text);
        refused(&sandbox.runner(["check", "t.toml"]), &[place, "no value"]);
    }
    sandbox.write("d.csv", "v\n\n\n\n1\n2\n4\n\n\n");
    refused(&sandbox.runner(["check", "t.toml"]), &["2 more cells"]);
    let rows = |gap: &str, end: &str| {
        let rows: Vec<String> = (0..30).map(|i| if i == 11 { gap.into() } else { (i * i).to_string() }).collect();
        format!("v\n{}\n{end}", rows.join("\n"))
    };
    for (gap, end) in [("", ""), ("\"\"", ""), ("  ", "\n\n"), ("\r", "")] {
        sandbox.write("d.csv", rows(gap, end));
        refused(&sandbox.runner(["check", "t.toml"]), &["row 12 (line 13), column `v`: no value"]);
    }
    sandbox.write("d.csv", rows("7", "\n \n\n"));
    sandbox.fine(["check", "t.toml"]);
    sandbox.write("d.csv", rows("7", "\"\"\n"));
    refused(&sandbox.runner(["check", "t.toml"]), &["row 31 (line 32), column `v`: no value"]);
}

#[test]
fn a_table_that_is_no_good_is_refused_with_the_true_cause() {
    let sandbox = table();
    let latin: Vec<u8> = [b"x,y,gr".as_slice(), &[0xf6, 0xdf], b"e\n0,1,1\n1,3,1\n"].concat();
    let cases: [(&[u8], &[&str]); 11] = [
        (b"x,y\r0,1\r1,3\r2,5\r", &["lines end in carriage returns alone", "line feed"]),
        (b"# made by logger 3\nx,y\n0,1\n1,3\n", &["`# made by logger 3` was taken for the header"]),
        (b"# x, y\n0,1\n1,3\n", &["no column `x`", "was taken for the names"]),
        (&latin, &["not UTF-8: byte 6 (line 1)", "save it as UTF-8"]),
        (b"x,y\n0,1\n1e400,3\n2,4\n", &["row 2 (line 3), column `x`: 1e400 is too large"]),
        (b"0,1\n1,3\n2,5\n", &["no column `x`", "the first row, `0,1`, was taken for the names"]),
        (b"1,1\n1,3\n2,5\n", &["no column `x`", "the first row, `1,1`, was taken for the names"]),
        (b"x,y\n0,1,\n1,3,\n", &["row 1 (line 2) has 3 cells", "its last cell is empty"]),
        (b"x,y\n0,1\n1,3\n2", &["row 3 (line 4) has 1 cells", "the last row is too short"]),
        (b"x,y\n0,1\n1\n2,5\n", &["row 2 (line 3) has 1 cells", "the row is too short"]),
        (b"x,y\n0,1\n1,3,4\n2,5\n", &["row 2 (line 3) has 3 cells", "needs quotes"]),
    ];
    for (text, words) in cases {
        sandbox.write("d.csv", text);
        refused(&sandbox.runner(["check", "t.toml"]), words);
    }
    sandbox.write("d.csv", "x,y\n0,1\ninf,3\n2,4\n");
    refused(&sandbox.runner(["check", "t.toml"]), &["`inf` is not a number"]);
}
