//! What is run again is held against everything that is stored, and programs are asked again. What they gave before is
//! taken from a cache that belongs to its user alone.

use super::programs::{assert_none_left, dataset, echoing};
use super::{Ran, SMALL, Sandbox};
use polars::prelude::*;
use std::fs::{self, File};
use std::path::PathBuf;

/// A table on 20 rows, split, so that there are units, baselines, and losses of two parts.
fn table() -> Sandbox {
    let rows: String = (0..20).map(|i| format!("{},{}\n", f64::from(i) * 0.5, (f64::from(i) * 0.7).sin())).collect();
    let data = "kind = \"table\"\npath = \"data.csv\"\ninputs = [\"a\"]\ntargets = [\"b\"]\nsteps = 3\nscale = \"standard\"\n\
                split = { by = \"order\", validation = 0.2, test = 0.2 }\n";
    let text = SMALL
        .replace("kind = \"sqrt\"\nsteps = 12\n", data)
        .replace("metrics = [\"l1\", \"nmse\"]", "watch = true\nmetrics = [\"l1\"]");
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.write("data.csv", format!("a,b\n{rows}"));
    sandbox.fine(["small.toml", "--out", "out", "--seeds", "0"]);
    sandbox
}

/// A cell that is another one: for numbers a little, for texts a letter, for what is not there 1.
fn other(column: &Column, row: usize, value: Option<f64>) -> Column {
    let name = column.name().clone();
    match column.dtype() {
        DataType::String => {
            let mut texts: Vec<Option<String>> = column.str().unwrap().iter().map(|t| t.map(String::from)).collect();
            texts[row] = Some(format!("{}x", texts[row].clone().unwrap_or_default()));
            Series::new(name, texts).into()
        }
        dtype => {
            let numbers = column.cast(&DataType::Float64).unwrap();
            let mut numbers: Vec<Option<f64>> = numbers.f64().unwrap().iter().collect();
            let before = numbers[row].filter(|number| number.is_finite()).unwrap_or(0.0);
            let step = if dtype.is_float() { before.abs().max(1.0) * 1e-3 } else { 1.0 };
            numbers[row] = Some(value.unwrap_or(before + step));
            let changed = Series::new(name, numbers);
            changed.cast(dtype).unwrap().into()
        }
    }
}

fn read(path: &PathBuf) -> DataFrame {
    ParquetReader::new(File::open(path).unwrap()).finish().unwrap()
}

/// Makes the results look like those of another binary, so that rounding is tolerated.
fn of_another_binary(sandbox: &Sandbox) {
    let manifest = sandbox.path("out/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let binary = text.split("\"binary\": \"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(&manifest, text.replace(binary, "0000000000000000")).unwrap();
}

#[test]
fn every_column_of_every_table_is_verified_and_named() {
    let sandbox = table();
    of_another_binary(&sandbox);
    assert!(sandbox.fine(["verify", "out"]).stdout.contains("1 identical"));
    let mut seen = Vec::new();
    for file in ["trials.parquet", "history.parquet", "traces.parquet", "layers.parquet", "baselines.parquet"] {
        let path = sandbox.path(&format!("out/{file}"));
        let (bytes, table) = (fs::read(&path).unwrap(), read(&path));
        assert!(table.height() > 0, "{file}");
        for column in table.columns() {
            let name = column.name().as_str();
            if ["trial", "started", "finished", "duration_s"].contains(&name) {
                continue;
            }
            let numbers = [None, Some(f64::NAN)];
            let values = if column.dtype().is_float() { &numbers[..] } else { &numbers[..1] };
            for value in values {
                let mut changed = table.clone();
                changed.with_column(other(column, 0, *value)).unwrap();
                ParquetWriter::new(File::create(&path).unwrap()).finish(&mut changed).unwrap();
                let ran = sandbox.runner(["verify", "out"]);
                if ran.status == 2 {
                    // What no table of ours holds is refused before anything is run.
                    let says = format!("out/{file}: row 1, column `{name}`: ");
                    assert!(ran.stderr.contains(&says), "{file} {name} {value:?}: {}", ran.stderr);
                    continue;
                }
                assert_eq!(ran.status, 1, "{file} {name} {value:?}: {}", ran.stdout);
                let named = ran.stdout.contains(file) && ran.stdout.contains(&format!("`{name}`"));
                assert!(named || ["status", "error"].contains(&name), "{file} {name}: {}", ran.stdout);
                assert!(ran.stdout.contains("0 identical, 0 within tolerance, 1 different"), "{}", ran.stdout);
            }
            seen.push(format!("{file} {name}"));
        }
        fs::write(&path, bytes).unwrap();
    }
    for needed in [
        "trials.parquet test.l1",
        "history.parquet train.l1",
        "history.parquet validation.loss",
        "traces.parquet output",
        "layers.parquet mem",
        "layers.parquet spk",
        "baselines.parquet l1",
    ] {
        assert!(seen.iter().any(|seen| seen == needed), "{needed} is not among {seen:?}");
    }
}

#[test]
fn rows_columns_and_files_that_were_taken_away_are_found() {
    let sandbox = table();
    for file in ["history.parquet", "traces.parquet", "layers.parquet", "baselines.parquet"] {
        let path = sandbox.path(&format!("out/{file}"));
        let (bytes, table) = (fs::read(&path).unwrap(), read(&path));
        let last = table.get_column_names().last().unwrap().to_string();
        let fewer = [table.slice(1, table.height() - 1), table.drop(&last).unwrap()];
        for mut fewer in fewer {
            ParquetWriter::new(File::create(&path).unwrap()).finish(&mut fewer).unwrap();
            let ran = sandbox.runner(["verify", "out"]);
            assert!(ran.status == 1 && ran.stdout.contains(file), "{file}: {}", ran.stdout);
        }
        fs::remove_file(&path).unwrap();
        let ran = sandbox.runner(["verify", "out"]);
        assert_eq!(ran.status, 2, "{file}: {}", ran.stdout);
        assert!(ran.stderr.contains(&format!("out/{file} is not there; `runner ")), "{file}: {}", ran.stderr);
        fs::write(&path, bytes).unwrap();
    }
    assert!(sandbox.fine(["verify", "out"]).stdout.contains("1 identical"));
}

#[test]
fn weights_are_verified_with_their_shapes_and_units() {
    let sandbox = table();
    of_another_binary(&sandbox);
    let file = fs::read_dir(sandbox.path("out/weights")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut header = header.clone();
        change(&mut header);
        let mut text = serde_json::to_vec(&header).unwrap();
        text.resize(text.len().next_multiple_of(8), b' ');
        [&(text.len() as u64).to_le_bytes()[..], &text, &bytes[8 + length..]].concat()
    };
    let units = header["__metadata__"]["scale"].as_str().unwrap();
    let another = units.replacen("\"factor\":", "\"factor\":1", 1);
    assert_ne!(units, another);
    let changes: [(&str, Vec<u8>); 5] = [
        ("units", with(&|header| header["__metadata__"]["scale"] = another.clone().into())),
        ("units", with(&|header| drop(header.as_object_mut().unwrap().remove("__metadata__")))),
        ("`note`", with(&|header| header["__metadata__"]["note"] = "mine".into())),
        ("shape", with(&|header| header["hidden_1.weight"]["shape"] = serde_json::json!([1, 8]))),
        (
            "`mine`",
            with(&|header| {
                let old = header.as_object_mut().unwrap().remove("hidden_1.beta").unwrap();
                header["mine"] = old;
            }),
        ),
    ];
    assert!(sandbox.fine(["verify", "out"]).stdout.contains("1 identical"));
    for (what, changed) in changes {
        fs::write(&file, changed).unwrap();
        let ran = sandbox.runner(["verify", "out"]);
        let named =
            ran.stdout.contains("weights/") && (ran.stdout.contains(what) || ran.stdout.contains("hidden_1.beta"));
        assert!(ran.status == 1 && named, "{what}: {}{}", ran.stdout, ran.stderr);
    }
}

/// The files of the cache.
fn cached(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(sandbox.path("cache/runner")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn verify_asks_a_program_even_where_the_cache_knows() {
    let sandbox = dataset(&echoing("0.25"));
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--quiet", "--seeds", "0..2"]);
    assert_eq!(cached(&sandbox).len(), 2);
    assert_none_left(&sandbox, 1);
    assert!(sandbox.fine_with_path(["verify", "results/small", "--allow-programs"]).stdout.contains("2 identical"));
    assert_none_left(&sandbox, 2);
}

#[test]
fn a_program_that_gives_other_data_for_the_same_seed_is_named_with_the_trial() {
    // Its target is another one in each process.
    let sandbox = dataset(&format!("echo >> starts; {}", echoing("0.$(wc -l < starts | tr -d ' ')")));
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--quiet"]);
    let ran: Ran =
        sandbox.command_with_path().args(["verify", "results/small", "--allow-programs"]).output().unwrap().into();
    assert_eq!(ran.status, 1);
    let said = "(seed 0): different: program `walk` (plugins/walk.toml) gave other data than this trial was trained on";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

#[test]
fn what_the_cache_holds_of_another_request_is_not_taken() {
    let sandbox = dataset(&echoing("0.25"));
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--quiet", "--seeds", "0..2"]);
    let files = cached(&sandbox);
    let before = fs::read(&files[1]).unwrap();
    fs::copy(&files[0], &files[1]).unwrap();
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--quiet", "--seeds", "0..2", "--out", "again"]);
    assert_none_left(&sandbox, 2);
    assert!(fs::read(&files[1]).unwrap() == before, "it is kept anew");
}

#[cfg(unix)]
#[test]
fn a_cache_is_its_users_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let sandbox = dataset(&echoing("0.25"));
    let arguments = ["small.toml", "--allow-programs", "--quiet", "--fresh"];
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    sandbox.fine_with_path(arguments);
    let (folder, file) = (sandbox.path("cache/runner"), cached(&sandbox).remove(0));
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    // A file that others may write to, or that leads elsewhere, is asked for again, and kept as it should be.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    sandbox.fine_with_path(arguments);
    assert_none_left(&sandbox, 2);
    assert_eq!(mode(&file), 0o600);
    fs::rename(&file, sandbox.path("elsewhere")).unwrap();
    symlink(sandbox.path("elsewhere"), &file).unwrap();
    sandbox.fine_with_path(arguments);
    assert_none_left(&sandbox, 3);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    // A folder that others may write to, or that leads elsewhere, is not used at all, which is said once.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
    let ran = sandbox.fine_with_path(arguments);
    assert_eq!(ran.stderr.matches("note: ").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("others can write to ") && ran.stderr.contains("cache/runner"), "{}", ran.stderr);
    assert_none_left(&sandbox, 4);
    fs::rename(&folder, sandbox.path("mine")).unwrap();
    fs::set_permissions(sandbox.path("mine"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(sandbox.path("mine"), &folder).unwrap();
    assert!(sandbox.fine_with_path(arguments).stderr.contains("is a link, or no folder"));
    assert_none_left(&sandbox, 5);
}

#[test]
fn a_cache_lies_in_the_users_own_folder_or_nowhere() {
    let sandbox = dataset(&echoing("0.25"));
    let run = |set: &[(&str, PathBuf)]| {
        let mut command = sandbox.command_with_path();
        command.env_remove("XDG_CACHE_HOME").envs(set.iter().map(|(key, path)| (key, path)));
        let ran: Ran = command.args(["small.toml", "--allow-programs", "--quiet", "--fresh"]).output().unwrap().into();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stderr
    };
    let here = || -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(sandbox.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for set in [&[][..], &[("XDG_CACHE_HOME", "relative".into())], &[("HOME", "".into())], &[("HOME", ".".into())]] {
        let said = run(set);
        assert_eq!(said.matches("note: what programs give is not kept").count(), 1, "{said}");
        assert_eq!(here(), ["plugins", "results", "small.toml"], "{set:?}");
    }
    assert_none_left(&sandbox, 4);
    let home = sandbox.path("home");
    assert_eq!(run(&[("HOME", home.clone()), ("XDG_CACHE_HOME", "relative".into())]), "");
    assert_eq!(run(&[("HOME", home.clone())]), "");
    assert_none_left(&sandbox, 5);
    assert_eq!(fs::read_dir(home.join(".cache/runner")).unwrap().count(), 1);
}

/// What `verify` refuses, on standard error.
fn refused(sandbox: &Sandbox, folder: &str) -> String {
    let ran: Ran = sandbox.command_with_path().args(["verify", folder, "--allow-programs"]).output().unwrap().into();
    assert_eq!(ran.status, 2, "{}{}", ran.stdout, ran.stderr);
    ran.stderr
}

#[test]
fn verify_names_the_file_that_changed() {
    let sandbox = table();
    let weights = fs::read_dir(sandbox.path("out/weights")).unwrap().next().unwrap().unwrap().path();
    fs::copy(&weights, sandbox.path("a.safetensors")).unwrap();
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    sandbox.write("b.safetensors", &bytes);
    sandbox.fine(["small.toml", "--set", "init.weights=a.safetensors", "--out", "warm"]);
    let swept = "init.weights=\"a.safetensors\",\"b.safetensors\"";
    sandbox.fine(["small.toml", "--sweep", swept, "--out", "swept"]);
    let rows = fs::read_to_string(sandbox.path("data.csv")).unwrap();
    sandbox.write("data.csv", rows.replacen("0.5,", "0.25,", 1));
    for folder in ["out", "warm", "swept"] {
        let said = refused(&sandbox, folder);
        assert!(said.contains("data.csv is not what this trial was trained on\n"), "{said}");
        assert!(!said.contains("safetensors"), "{said}");
    }
    sandbox.write("data.csv", rows);
    *bytes.last_mut().unwrap() ^= 2;
    sandbox.write("a.safetensors", &bytes);
    let said = refused(&sandbox, "warm");
    assert!(said.contains("a.safetensors is not what this trial was trained on\n") && !said.contains("csv"), "{said}");
    let said = refused(&sandbox, "swept");
    assert!(said.contains("a.safetensors is not what this trial was trained on\n") && !said.contains("csv"), "{said}");
    assert!(sandbox.fine(["verify", "out"]).stdout.contains("1 identical"));
    let path = sandbox.path("out/trials.parquet");
    let mut trials = read(&path);
    trials.with_column(Series::new("trial".into(), ["0123456789abcdef"]).into()).unwrap();
    ParquetWriter::new(File::create(&path).unwrap()).finish(&mut trials).unwrap();
    assert!(refused(&sandbox, "out").contains("its seed and values in trials.parquet are those of another trial"));
}

#[test]
fn verify_names_the_file_of_a_program_that_changed() {
    let sandbox = dataset(&echoing("0.25"));
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--quiet"]);
    let script = fs::read_to_string(sandbox.path("plugins/walk.sh")).unwrap();
    sandbox.write("plugins/walk.sh", format!("{script}# changed\n"));
    let said = refused(&sandbox, "results/small");
    let program = "as program `walk` (plugins/walk.toml)";
    assert!(said.contains(&format!("plugins/walk.sh is not what this trial was trained with, {program}\n")), "{said}");
    fs::remove_file(sandbox.path("plugins/walk.sh")).unwrap();
    let said = refused(&sandbox, "results/small");
    assert!(said.contains("program `walk` (plugins/walk.toml) lacks files that this trial was trained with"), "{said}");
    sandbox.write("plugins/walk.sh", &script);
    // The manifest's text is the stored one, and its files are found from wherever the folder is verified.
    sandbox.write("plugins/walk.toml", "half written");
    fs::create_dir(sandbox.path("elsewhere")).unwrap();
    let mut command = sandbox.command_with_path();
    command.current_dir(sandbox.path("elsewhere")).args(["verify", "../results/small", "--allow-programs"]);
    let ran: Ran = command.output().unwrap().into();
    assert!(ran.stdout.contains("1 identical"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn what_a_program_says_is_cut_and_never_obeyed_by_a_terminal() {
    let long = "a".repeat(3000);
    let answers = [
        format!(r#"{{"type":"error","message":"\u001b[31mred\u0007 \u202e {long}"}}"#),
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"description","keys":["{long}"],"inputs":["x"],"targets":["y"]}}"#),
    ];
    for answer in answers {
        let hello = r#"read line; printf '\033[31mred\007\r last words\n' >&2; echo '{"type":"hello","protocol":1}'"#;
        let sandbox = dataset(&format!("{hello}; read line; cat answer; read line"));
        sandbox.write("plugins/answer", format!("{answer}\n"));
        let ran: Ran =
            sandbox.command_with_path().args(["small.toml", "--allow-programs", "--quiet"]).output().unwrap().into();
        let said = ran.stderr.trim_end();
        assert_eq!(ran.status, 1, "{said}");
        assert!(said.ends_with("last words") && said.contains(" ...; "), "{said}");
        assert!(said.len() < 1000 && !said.contains(|c: char| c.is_control() || c == '\u{202e}'), "{said}");
        assert_none_left(&sandbox, 1);
    }
}

#[test]
fn numbers_that_no_machine_has_are_told_from_what_is_not_json() {
    let answers = [
        (r#""id":1,"inputs":[[[1e999]],[[1]]]"#, "a number is too large for double precision"),
        (r#""id":1,"inputs":[[[-1e999]],[[1]]]"#, "a number is too large for double precision"),
        (r#""id":-1,"inputs":[[[1]],[[1]]]"#, "invalid value: integer `-1`, expected a whole number from 0 on"),
        (r#""id":1.5,"inputs":[[[1]],[[1]]]"#, "invalid type: floating point `1.5`, expected a whole number from 0 on"),
        (r#""id":1,"inputs":[["1"],[[1]]]"#, "invalid type: string \"1\", expected a sequence"),
        (r#""id":1,"inputs":[[[1]]]"#, "`inputs` have the shape [1, 1, 1], and [2, 1, 1] was asked for"),
        (r#""id":1,"inputs":[]"#, "`inputs` have the shape [0, 1, 1], and [2, 1, 1] was asked for"),
    ];
    for (answer, why) in answers {
        let sandbox = dataset(&echoing("0.25").replace("echo '{\"type\":\"data\"", "cat answer; : '"));
        sandbox.write("plugins/answer", format!("{{\"type\":\"data\",{answer},\"targets\":[[[1]],[[1]]]}}\n"));
        let ran: Ran =
            sandbox.command_with_path().args(["small.toml", "--allow-programs", "--quiet"]).output().unwrap().into();
        let said = format!("program `walk` (plugins/walk.toml) answered `produce` wrongly: {why}\n");
        assert!(ran.stderr.ends_with(&said), "{}", ran.stderr);
        assert_none_left(&sandbox, 1);
    }
}
