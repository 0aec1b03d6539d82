//! Numbers in the targets' own units, names that tables need for themselves, and output that cannot be written.

use super::programs::{manifest, metric};
use super::run::table;
use super::strange_files::TABLE;
use super::{Ran, SMALL, Sandbox};

/// A linear layer on a table of `x` and `y`.
fn own_table() -> String {
    TABLE.replace("epochs = 2", "epochs = 60").replace("loss = \"mse\"", "loss = \"mse\"\nmetrics = [\"r2\", \"rmse\"]")
}

/// Rows of `x` and `y`, the latter moved by a whole number, with digits that an f64 holds at any of these levels.
fn rows(level: i64) -> String {
    let row = |i: i64| {
        let (x, y) = ((i * 37) % 64, (i * 37) % 64 * 2 + (i * 11) % 16);
        format!("{},{}\n", x as f64 / 64.0, level as f64 + y as f64 / 64.0)
    };
    "x,y\n".to_string() + &(0..40).map(row).collect::<String>()
}

fn cells(csv: &str, row: usize, columns: &[&str]) -> Vec<String> {
    let mut lines = csv.lines().map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let line = lines.nth(row).unwrap();
    columns.iter().map(|name| line[header.iter().position(|other| other == name).unwrap()].clone()).collect()
}

fn exported(sandbox: &Sandbox, out: &str, table: &str) -> String {
    sandbox.fine(["export", out, "--format", "csv"]);
    std::fs::read_to_string(sandbox.path(&format!("{out}/csv/{table}.csv"))).unwrap()
}

fn near(a: &str, b: &str) -> bool {
    let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
    (a - b).abs() <= 1e-5 * b.abs().max(0.1)
}

#[test]
fn metrics_and_baselines_are_the_same_at_every_level_of_the_target() {
    let sandbox = Sandbox::with("t.toml", &own_table());
    let columns = ["train.r2", "train.rmse", "test.r2", "test.rmse"];
    let mut all = Vec::new();
    for level in [0, 10_000_000, 1_000_000_000] {
        let (csv, out) = (format!("{level}.csv"), format!("out{level}"));
        sandbox.write(&csv, rows(level));
        sandbox.fine(["t.toml", "--quiet", "--out", &out, "--set", &format!("data.path={csv}")]);
        let mut values = cells(&exported(&sandbox, &out, "trials"), 0, &columns);
        let baselines = exported(&sandbox, &out, "baselines");
        (0..2).for_each(|row| values.extend(cells(&baselines, row, &["r2", "rmse"])));
        all.push(values);
    }
    assert!(all[0][3].parse::<f64>().unwrap() > 0.0, "{all:?}");
    for other in &all[1..] {
        assert!(all[0].iter().zip(other).all(|(a, b)| near(b, a)), "{all:?}");
    }
}

#[test]
fn windows_and_changes_are_measured_in_the_targets_own_unit() {
    let series = own_table()
        .replace("kind = \"table\"", "kind = \"series\"\nwindow = 3\nhorizon = 1")
        .replace("steps = 1\n", "")
        .replace("inputs = [\"x\"]", "inputs = [\"x\", \"y\"]");
    for more in ["", "difference = true\n"] {
        let sandbox = Sandbox::with("t.toml", &series.replace("[data.split]", &format!("{more}[data.split]")));
        let mut all = Vec::new();
        for level in [0, 10_000_000] {
            let (csv, out) = (format!("{level}.csv"), format!("out{level}"));
            sandbox.write(&csv, rows(level));
            sandbox.fine(["t.toml", "--quiet", "--out", &out, "--set", &format!("data.path={csv}")]);
            let mut values = cells(&exported(&sandbox, &out, "trials"), 0, &["test.r2", "test.rmse"]);
            let baselines = exported(&sandbox, &out, "baselines");
            (0..2).for_each(|row| values.extend(cells(&baselines, row, &["rmse"])));
            all.push(values);
        }
        assert!(all[0].iter().zip(&all[1]).all(|(a, b)| near(b, a)), "{more} {all:?}");
    }
}

#[test]
fn predictions_keep_the_digits_of_large_targets() {
    let sandbox = Sandbox::with("t.toml", &own_table().replace("[run]", "[run]\nsave = \"best\""));
    let mut all = Vec::new();
    for level in [0, 100_000_000] {
        let out = format!("out{level}");
        sandbox.write("d.csv", rows(level));
        sandbox.fine(["t.toml", "--quiet", "--out", &out]);
        sandbox.fine(["predict", &out, "--data", "d.csv", "--out", "p.csv"]);
        let text = std::fs::read_to_string(sandbox.path("p.csv")).unwrap();
        let value = |line: &str| line.split(',').nth(1).unwrap().parse::<f64>().unwrap() - level as f64;
        all.push(text.lines().skip(1).map(value).collect::<Vec<f64>>());
    }
    assert!(all[0].iter().zip(&all[1]).all(|(a, b)| (a - b).abs() < 1e-6), "{all:?}");
}

#[test]
fn traces_keep_the_digits_of_large_targets() {
    let sandbox = Sandbox::with("t.toml", &own_table());
    let mut all = Vec::new();
    for level in [0, 100_000_000] {
        let out = format!("out{level}");
        sandbox.write("d.csv", rows(level));
        sandbox.fine(["t.toml", "--quiet", "--out", &out]);
        let traces = table(&sandbox.path(&out), "traces.parquet");
        let values = ["target", "untrained", "output"].map(|name| {
            let column = traces.column(name).unwrap().f64().unwrap().clone();
            column.into_no_null_iter().map(|value| value - level as f64).collect::<Vec<f64>>()
        });
        assert!(sandbox.fine(["verify", &out]).stdout.contains(" 0 within tolerance, 0 different"));
        all.push(values.concat());
    }
    assert!(all[0].iter().zip(&all[1]).all(|(a, b)| (a - b).abs() < 1e-6) && all[0][0] != all[0][1], "{all:?}");
}

#[test]
fn a_share_of_a_target_that_is_zero_is_not_defined() {
    let sandbox = Sandbox::with("t.toml", &own_table());
    let zero = rows(1).lines().map(|line| line.to_string()).collect::<Vec<_>>();
    let last = format!("{},0", zero[40].split(',').next().unwrap());
    sandbox.write("d.csv", zero[..40].join("\n") + "\n" + &last + "\n");
    let ran = sandbox.fine(["t.toml", "--out", "out", "--set", "train.metrics=[\"relative_error\"]"]);
    assert!(ran.stdout.contains("undefined"), "{}", ran.stdout);
    let csv = exported(&sandbox, "out", "trials");
    assert!(!cells(&csv, 0, &["test.relative_error"])[0].contains(|c: char| c.is_ascii_digit()), "{csv}");
}

#[test]
fn the_linear_baseline_hangs_on_no_unit_of_a_column() {
    let text = own_table()
        .replace("inputs = [\"x\"]", "inputs = [\"a\", \"b\", \"c\", \"d\"]\nscale = \"none\"")
        .replace("lr = 0.1", "lr = 1e-14");
    let sandbox = Sandbox::with("t.toml", &text);
    // `c` is `a` once more and `d` does not vary: neither says anything new.
    let row = |i: u32| {
        let (a, b) = ((i * 37 % 64) as f32 * 1024.0 + 30000.0, (i * 29 % 31) as f32 / 65536.0 / 1024.0);
        format!("{a},{b},{a},7,{}\n", f64::from(b) * 1e8 + 3.0)
    };
    sandbox.write("d.csv", "a,b,c,d,y\n".to_string() + &(0..40).map(row).collect::<String>());
    sandbox.fine(["t.toml", "--quiet", "--out", "out"]);
    let csv = exported(&sandbox, "out", "baselines");
    let linear = csv.lines().position(|line| line.contains(",linear,")).unwrap() - 1;
    let rmse: f64 = cells(&csv, linear, &["rmse"])[0].parse().unwrap();
    assert!(rmse < 1e-6, "{csv}");
}

fn with_path(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command();
    command.args(arguments).env("PATH", std::env::var("PATH").unwrap()).output().unwrap().into()
}

#[test]
fn a_programs_metric_scores_tables_whose_last_step_alone_counts() {
    let sandbox = metric(r#"echo "{\"type\":\"score\",\"id\":$n,\"value\":0.125}""#);
    let worst = own_table().replace("\"r2\", \"rmse\"", "\"worst\"");
    let windows = worst.replace("kind = \"table\"", "kind = \"series\"\nwindow = 3\nhorizon = 1");
    sandbox.write("d.csv", rows(0));
    for (name, text) in
        [("table", worst.replace("steps = 1", "steps = 3")), ("windows", windows.replace("steps = 1\n", ""))]
    {
        sandbox.write("t.toml", text);
        let ran = with_path(&sandbox, &["t.toml", "--allow-programs", "--out", name]);
        assert_eq!(ran.status, 0, "{name}: {}", ran.stderr);
        assert!(ran.stdout.contains("0.12500"), "{}", ran.stdout);
    }
    let asked = std::fs::read_to_string(sandbox.path("plugins/asked")).unwrap();
    assert!(asked.lines().all(|line| line.contains("\"target\":[[[")), "{asked}");
}

#[test]
fn a_metric_is_not_called_like_a_column_of_a_table() {
    for name in [
        "trial",
        "config",
        "seed",
        "status",
        "error",
        "loss",
        "iteration",
        "iterations",
        "started",
        "finished",
        "duration_s",
        "baseline",
        "data_digest",
    ] {
        let sandbox = Sandbox::empty();
        sandbox.write("plugins/m.sh", "");
        let text = manifest(name, "metric", "").replace(&format!("{name}.sh"), "m.sh");
        sandbox.write("plugins/m.toml", text);
        let ran = sandbox.runner(["show", name]);
        assert_eq!(ran.status, 2, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("a metric cannot be called `{name}`")), "{}", ran.stderr);
        let register = |to: &mut runner::registry::Additions<'_>| {
            to.metric(name, |()| |_: runner::train::metric::Compared<'_>| 0.0);
        };
        let mut registry = runner::registry::Registry::default();
        let origin = runner::spec::component::Origin::Crate("c 1".into());
        let registered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            register(&mut runner::registry::Additions::new(&mut registry, origin));
        }));
        let said = *registered.unwrap_err().downcast::<String>().unwrap();
        assert!(said.contains(&format!("a metric cannot be called `{name}`")), "{said}");
    }
    for name in ["param.x", "Train", "a b"] {
        let sandbox = Sandbox::empty();
        sandbox.write("plugins/m.toml", manifest(name, "metric", ""));
        assert_eq!(sandbox.runner(["show", name]).status, 2, "{name}");
    }
}

#[test]
fn a_parameter_does_not_take_a_key_of_a_projection() {
    let neuron = |param: &str| {
        format!(
            "kind = \"neuron\"\nname = \"own\"\nabout = \"A test\"\nstates = {{ y = 0 }}\noutputs = {{ y = \"y\" }}\n\
             step = \"y = {param} * prev.y + current + back\"\n[params]\n{param} = {{ default = 0.5 }}\n\
             [projections]\nrecurrent = {{ from = \"prev.y\", to = [\"back\"], kind = [\"dense\"], bias = true }}\n"
        )
    };
    for param in ["recurrent_init", "recurrent_weight", "recurrent_bias"] {
        let sandbox = Sandbox::with("plugins/own.toml", &neuron(param));
        let ran = sandbox.runner(["show", "own"]);
        assert_eq!(ran.status, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("`{param}` belongs to the projection `recurrent`")), "{}", ran.stderr);
    }
    Sandbox::with("plugins/own.toml", &neuron("decay")).fine(["list"]);
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_said() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--quiet", "--out", "out"]);
    let commands: [&[&str]; 12] = [
        &["schema"],
        &["list"],
        &["show", "leaky"],
        &["check", "small.toml"],
        &["small.toml", "--out", "new", "--json"],
        &["small.toml", "--out", "out", "--json"],
        &["small.toml", "--out", "out"],
        &["results", "."],
        &["report", "out"],
        &["verify", "out"],
        &["--help"],
        &["--version"],
    ];
    for arguments in commands {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran: Ran = sandbox.command().args(arguments).stdout(full).output().unwrap().into();
        assert_eq!(ran.status, 3, "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains("standard output cannot be written"), "{arguments:?} {}", ran.stderr);
        // A reader that went away is no mistake.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran: Ran = sandbox.command().args(arguments).stdout(writer).output().unwrap().into();
        assert_eq!(ran.status, 0, "{arguments:?} {}", ran.stderr);
        assert!(!ran.stderr.contains("error"), "{arguments:?} {}", ran.stderr);
    }
}
