//! What a program owes its surroundings: signals, full disks, terminals, links, and names of any bytes.
#![cfg(unix)]

use super::folder::{journal_records, wait_for};
use super::{Ran, SMALL, Sandbox};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn long() -> Sandbox {
    Sandbox::with("small.toml", &SMALL.replace("iterations = 20", "iterations = 3000"))
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
}

fn ended(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

/// The binary as a shell starts it that did something before.
fn after(sandbox: &Sandbox, before: &str, arguments: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}; exec {} {arguments}", env!("CARGO_BIN_EXE_runner"))]);
    command.current_dir(sandbox.folder.path()).stdin(Stdio::null());
    command
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_signal_that_was_ignored_when_the_process_started_stays_ignored() {
    for signal in ["HUP", "INT", "TERM"] {
        let sandbox = long();
        let child = start(after(&sandbox, &format!("trap '' {signal}"), "small.toml --seeds 0..20 --jobs 1"));
        wait_for(|| journal_records(&sandbox) >= 1);
        send(signal, &child);
        let ran = ended(child);
        assert_eq!(ran.status, 0, "{signal}: {}", ran.stderr);
    }
}

#[test]
fn a_signal_ends_commands_that_do_not_train() {
    let sandbox = strange();
    sandbox.fine(["table.toml", "--out", "table"]);
    assert!(Command::new("mkfifo").arg(sandbox.path("rows.csv")).status().unwrap().success());
    let grid = "[sweep.over]\n\"optimizer.lr\" = { low = 1e-5, high = 0.5, step = 1e-5 }\n";
    sandbox.write("grid.toml", format!("{SMALL}\n{grid}"));
    for arguments in [vec!["predict", "table", "--data", "rows.csv"], vec!["check", "grid.toml"]] {
        let mut command = sandbox.command();
        command.args(&arguments);
        let child = start(command);
        // That it handles signals is seen where the system tells.
        let caught = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("ffff").trim();
            u64::from_str_radix(mask, 16).unwrap() >> 14 & 1 == 1
        };
        wait_for(caught);
        send("TERM", &child);
        let ran = ended(child);
        assert_eq!((ran.status, ran.stderr.as_str()), (130, "interrupted\n"), "{arguments:?}");
    }
}

#[test]
fn a_limit_on_sizes_of_files_is_an_error_with_a_word_and_a_status() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "done", "--set", "train.iterations=300"]);
    for arguments in [
        "small.toml --out new --seeds 0..50",
        "report done",
        "export done --format csv --out csv",
        "export done --format tensorboard --out board",
        "probe leaky --out probe",
        "init mine",
    ] {
        let ran: Ran = after(&sandbox, "ulimit -f 2", arguments).output().unwrap().into();
        assert_eq!(ran.status, 3, "{arguments}: {} {}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("File too large"), "{arguments}: {}", ran.stderr);
    }
    let half = |path: &PathBuf| path.to_string_lossy().ends_with(".part");
    assert!(!files_below(sandbox.folder.path()).iter().any(half));
    assert!(files_below(&sandbox.path("mine")).is_empty(), "what was begun is taken back");
    sandbox.fine(["init", "mine"]);
    sandbox.fine(["small.toml", "--out", "new", "--seeds", "0..50"]);
}

/// Controls of all kinds: escape, bell, carriage return, C1, and those that turn the direction of text.
const CONTROLS: &str = "\u{1b}[31m\u{7}\u{9b}\u{202e}\u{2066}";
/// The same as TOML writes them.
const WRITTEN: &str = "\\u001b[31m\\u0007\\u009b\\u202e\\u2066";

fn steers(text: &str) -> bool {
    let turns = |c| ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t') || turns(c))
}

/// A sandbox in which everything that may have a strange name or text has one.
fn strange() -> Sandbox {
    let sandbox =
        Sandbox::with("small.toml", &SMALL.replace("\"small\"\n", &format!("\"small\"\nabout = \"{WRITTEN}\"\n")));
    let table = SMALL.replace(
        "kind = \"sqrt\"",
        &format!("kind = \"table\"\npath = \"d{WRITTEN}.csv\"\ninputs = [\"x{WRITTEN}\"]\ntargets = [\"y\"]"),
    );
    sandbox.write("table.toml", &table);
    sandbox.write("no_column.toml", table.replace("[\"x", "[\"z"));
    sandbox.write("unknown.toml", SMALL.replace("\"sqrt\"", "\"sq\u{9b}\u{202e}\""));
    let rows: String = (0..9).map(|i| format!("{i},{i}\n")).collect();
    sandbox.write(&format!("d{CONTROLS}.csv"), format!("x{CONTROLS},y\n{rows}"));
    sandbox.write(&format!("cells{CONTROLS}.csv"), format!("x{CONTROLS},y\na{CONTROLS},1\n"));
    sandbox.write(
        "plugins/flat.toml",
        format!(
            "kind = \"dataset\"\nname = \"flat\"\nabout = \"flat {WRITTEN}\"\nsource = \"{WRITTEN}\"\n\
             [inputs]\nx = \"t\"\n[targets]\ny = \"1\"\n"
        ),
    );
    let params = format!("[params]\ngain = {{ default = 1.0, about = \"{WRITTEN}\" }}");
    sandbox.write("plugins/walk.toml", super::programs::manifest("walk", "metric", &params));
    sandbox.write("plugins/walk.sh", format!("printf '{CONTROLS}' >&2; printf '{CONTROLS}\\n'; exit 1"));
    sandbox
}

#[test]
fn no_text_of_a_stranger_steers_the_terminal_or_the_page() {
    let sandbox = strange();
    let with = |text: &str| text.replace('@', CONTROLS);
    for (status, arguments) in [
        (0, "small.toml --out out@"),
        (0, "table.toml --out table"),
        (0, "small.toml --out swept --seeds 0..3 --sweep optimizer.lr=1e-2,1e-3"),
        (1, "small.toml --out walk --set train.metrics=[\"walk\"] --allow-programs"),
        (0, "check table.toml"),
        (2, "check no_column.toml"),
        (2, "check unknown.toml"),
        (2, "check nothing@.toml"),
        (2, "check table.toml --set data.path=cells@.csv"),
        (2, "check small.toml --set @"),
        (2, "check small.toml --set @=1"),
        (2, "check small.toml --sweep optimizer.lr=@"),
        (2, "small.toml --seeds @"),
        (2, "--@"),
        (0, "list"),
        (0, "show flat"),
        (2, "show @"),
        (0, "results ."),
        (0, "report out@"),
        (0, "verify out@"),
        (0, "verify table"),
        (0, "explain table 0123 table.toml"),
        (2, "explain table @"),
        (2, "compare swept --baseline @=1"),
        (0, "diff out@ table"),
        (2, "diff table @"),
        (0, "export table --format csv --out csv@"),
        (2, "predict table --data cells@.csv"),
        (0, "predict table --data d@.csv"),
        (0, "probe leaky --out probe@"),
        (2, "probe @ --out probe"),
        (0, "init mine@"),
        (2, "new neuron @"),
        (0, "new neuron own --dir own@"),
    ] {
        let mut arguments: Vec<String> = with(arguments).split(' ').map(String::from).collect();
        if arguments[0] == "explain" && arguments[2] == "0123" {
            let weights = files_below(&sandbox.path("table/weights"));
            arguments[2] = weights[0].file_stem().unwrap().to_str().unwrap().into();
        }
        let path = std::env::var("PATH").unwrap();
        let ran: Ran = sandbox.command().args(&arguments).env("PATH", path).output().unwrap().into();
        assert_eq!(ran.status, status, "{arguments:?} {} {}", ran.stdout, ran.stderr);
        assert!(!steers(&ran.stdout) && !steers(&ran.stderr), "{arguments:?} {:?} {:?}", ran.stdout, ran.stderr);
    }
    let pages: Vec<PathBuf> = files_below(sandbox.folder.path());
    let drawn = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "html" || ending == "svg");
    let pages: Vec<&PathBuf> = pages.iter().filter(drawn).collect();
    assert!(pages.len() > 10);
    for page in pages {
        assert!(!steers(&std::fs::read_to_string(page).unwrap()), "{page:?}");
    }
    let page = std::fs::read_to_string(sandbox.path("swept/report.html")).unwrap();
    assert!(page.contains("\\u{1b}[31m\\u{7}\\u{9b}\\u{202e}\\u{2066}"), "it is shown instead");
}

#[test]
fn json_and_toml_that_are_printed_stay_what_they_are() {
    let sandbox = strange();
    let printed = sandbox.fine(["check", "table.toml", "--print", "study"]).stdout;
    assert!(!steers(&printed), "{printed:?}");
    sandbox.write("back.toml", &printed);
    let trial = |file| sandbox.fine(["check", file]).stdout.lines().last().unwrap_or_default().to_string();
    assert_eq!(trial("back.toml"), trial("table.toml"));
    let sweep = format!("let.x=\"{WRITTEN}\",\"b\"");
    let file = SMALL.replace("hidden = 8", "hidden = 8\nx = \"\"");
    sandbox.write("swept.toml", file);
    let lines = sandbox.runner(["swept.toml", "--json", "--sweep", &sweep]).stdout;
    assert!(!steers(&lines), "{lines:?}");
    lines.lines().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
    let schema = sandbox.fine(["schema"]).stdout;
    assert!(!steers(&schema));
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema.to_string().contains("\u{202e}"), "the words of a plugin are in it, as they are");
}

#[test]
fn a_report_of_a_study_that_is_running_says_so_with_counts() {
    let sandbox = long();
    let run = |seeds: &str| {
        let mut command = sandbox.command();
        command.args(["small.toml", "--jobs", "1", "--seeds", seeds]);
        start(command)
    };
    let running = |words: &[&str]| {
        let ran = sandbox.runner(["report", "results/small"]);
        words.iter().for_each(|word| assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr));
        assert!(!ran.stderr.contains("stopped"), "{}", ran.stderr);
        ran.status
    };
    let mut child = run("0..10000");
    wait_for(|| journal_records(&sandbox) >= 1);
    assert_eq!(running(&["is running (process", "of 10000 trials have ended", "no tables yet"]), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    let mut child = run("0..10000");
    wait_for(|| std::fs::read_to_string(sandbox.path("results/small/manifest.json")).unwrap().contains("\"running\""));
    assert_eq!(running(&["note: results/small is running (process", "of 10000 trials have ended"]), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
    assert!(page.contains("Running: ") && page.contains("of 10000 planned trials are here so far"), "{page}");
}

#[test]
fn an_export_that_has_nothing_to_write_says_so_and_makes_no_folder() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "none", "--set", "train.iterations=0"]);
    sandbox.fine(["small.toml", "--out", "lost"]);
    std::fs::remove_file(sandbox.path("lost/trials.parquet")).unwrap();
    for (folder, format, what) in [
        ("none", "tensorboard", "none has no losses of iterations yet; nothing was written"),
        ("lost", "csv", "lost/trials.parquet is not there; `runner small.toml --out lost` makes it again"),
    ] {
        let ran = sandbox.runner(["export", folder, "--format", format, "--out", "out"]);
        assert_eq!(ran.status, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(what), "{}", ran.stderr);
        assert!(!sandbox.path("out").exists());
    }
}

/// On other systems such names are refused by the file system.
#[cfg(target_os = "linux")]
#[test]
fn folders_whose_names_are_not_utf_8_work_in_every_command() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let odd = sandbox.folder.path().join(OsStr::from_bytes(b"d\xff\xeei\xc3r"));
    std::fs::create_dir_all(odd.join("plugins")).unwrap();
    let table =
        SMALL.replace("kind = \"sqrt\"", "kind = \"table\"\npath = \"d.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]");
    let rows: String = (0..9).map(|i| format!("{i},{i}\n")).collect();
    std::fs::write(odd.join("table.toml"), &table).unwrap();
    std::fs::write(odd.join("child.toml"), "extends = \"table.toml\"\nname = \"child\"\n").unwrap();
    std::fs::write(odd.join("d.csv"), format!("x,y\n{rows}")).unwrap();
    let run = |arguments: &str| {
        let place = |word: &str| match word.strip_prefix('@') {
            Some(rest) => odd.join(rest).into_os_string(),
            None => word.into(),
        };
        let output = sandbox.command().args(arguments.split(' ').map(place)).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for arguments in [
        "check @table.toml",
        "@table.toml --out @out",
        "@child.toml --out plain --seeds 0..3 --sweep optimizer.lr=1e-2,1e-3",
        "@table.toml --out @out --seeds 0..2",
        "verify @out --all",
        "verify plain --all",
        "report @out",
        "results @",
        "diff @out plain",
        "compare plain --baseline optimizer.lr=0.01",
        "export @out --format csv",
        "export @out --format tensorboard --out @board",
        "predict @out --data @d.csv",
        "predict @out --data @d.csv --out @own",
        "probe leaky --out @probe",
        "init @mine",
        "new dataset flat --dir @plugins",
        "show flat --plugins @plugins",
        "check @table.toml --set data.kind=sqrt",
    ] {
        if arguments.ends_with("data.kind=sqrt") {
            std::fs::write(odd.join("table.toml"), SMALL).unwrap();
        }
        run(arguments);
    }
    for file in
        ["out/report.html", "out/csv/trials.csv", "own.csv", "probe/fi.svg", "mine/first.toml", "plugins/flat.toml"]
    {
        assert!(odd.join(file).exists(), "{file}");
    }
}

#[test]
fn too_few_seeds_are_said_with_how_many_would_do() {
    let rates = |rates| format!("{SMALL}\n[sweep.over]\n\"optimizer.lr\" = {rates}\n");
    for (list, words) in [
        ("[1e-2, 1e-9]", "too few seeds: with 3 in common p is 0.2500 at least; 6 in common would do\n"),
        (
            "[1e-2, 1e-9, 2e-2]",
            "too few seeds: with 3 in common p is 0.2500 at least, times up to 2 as one of 2 comparisons; 7 in common would do\n",
        ),
    ] {
        let sandbox = Sandbox::with("small.toml", &rates(list));
        sandbox.fine(["small.toml", "--seeds", "0..3"]);
        let ran = sandbox.fine(["compare", "results/small", "--baseline", "optimizer.lr=1e-9"]);
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
        let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
        assert!(page.contains(words.trim_start_matches("too ").trim_end()), "{page}");
    }
}

#[test]
fn init_and_new_follow_no_link_out_and_overwrite_nothing() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir_all(sandbox.path("elsewhere")).unwrap();
    let link = |to: &str, name: &str| {
        std::fs::create_dir_all(sandbox.path(name).parent().unwrap()).unwrap();
        symlink(sandbox.path(to), sandbox.path(name)).unwrap();
    };
    link("elsewhere", "a/gallery");
    link("elsewhere", "b/plugins");
    link("elsewhere/first.toml", "c/first.toml");
    link("elsewhere", "plugins");
    link("elsewhere/own.toml", "own/own.toml");
    for arguments in [
        vec!["init", "a"],
        vec!["init", "b"],
        vec!["init", "c"],
        vec!["new", "neuron", "own"],
        vec!["new", "neuron", "own", "--dir", "own"],
        vec!["new", "neuron", "../own"],
        vec!["new", "neuron", "/tmp/own"],
    ] {
        let ran: Ran = sandbox.command().args(&arguments).output().unwrap().into();
        assert_eq!(ran.status, 2, "{arguments:?} {}", ran.stdout);
    }
    let left = files_below(sandbox.folder.path());
    assert!(left.iter().all(|path| path.is_symlink()), "{left:?}");
    let ran = sandbox.fine(["init", "mine"]);
    for file in files_below(&sandbox.path("mine")) {
        let name = file.strip_prefix(sandbox.folder.path()).unwrap().to_str().unwrap();
        assert!(ran.stdout.lines().any(|line| line == name), "{name}: {}", ran.stdout);
    }
}
