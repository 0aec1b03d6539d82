//! The page for what is not the plain case.

use super::{SMALL, Sandbox};

fn page(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap()
}

#[test]
fn words_of_the_file_cannot_break_the_page() {
    let text = SMALL.replace("name = \"small\"", "name = \"small\"\nabout = \"<b>bold</b> & \\\"quoted\\\" <script>\"");
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.fine(["small.toml"]);
    let page = page(&sandbox);
    assert!(page.contains("&lt;b&gt;bold") && !page.contains("<script") && !page.contains("<b>bold"));
}

#[test]
fn several_channels_have_a_panel_each_and_no_common_width() {
    let dataset = "kind = \"dataset\"\nname = \"two\"\n[draws]\na = { normal = [0, 1] }\nb = { uniform = [1, 2], per = \"dataset\" }\n\
        [inputs]\nx = \"t\"\nz = \"a * t\"\nw = \"b\"\n[targets]\nfirst = \"x + z\"\nsecond = \"sin(3 * w * t)\"\n";
    let text = SMALL
        .replace("kind = \"sqrt\"", "kind = \"two\"\nsamples = 6")
        .replace("size = 1\n", "size = 2\n")
        .replace("iterations = 20", "iterations = 20\nbatch = 6");
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.write("plugins/two.toml", dataset);
    sandbox.fine(["small.toml"]);
    let page = page(&sandbox);
    assert!(page.contains("sample 0, first") && page.contains("sample 2, second"));
    assert!(page.contains("Computed on the first 4 of 6 samples"));
    let traces = super::run::table(&sandbox.path("results/small"), "traces.parquet");
    assert_eq!(traces.height(), 4 * 12 * 3, "a row a step and the widest of inputs and targets");
    assert_eq!(traces.column("target").unwrap().null_count(), 4 * 12);
}

#[test]
fn every_table_scrolls_in_a_narrow_window_and_its_headings_break_at_dots() {
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}\n[sweep.over]\n\"optimizer.lr\" = [1e-3, 1e-2]\n"));
    sandbox.fine(["small.toml"]);
    let page = page(&sandbox);
    assert_eq!(page.matches("<table").count(), page.matches("<div class=\"scroll\"><table").count());
    assert!(page.contains("<th scope=\"col\" class=\"number\">optimizer.<wbr>lr</th>"), "{page}");
}

#[test]
fn a_sweep_says_of_which_configuration_its_network_is() {
    let sweep = "\n[sweep.over]\nhidden = [4, 8]\n";
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}{sweep}"));
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    let text = page(&sandbox);
    let expected = "4 trials in 2 configurations of `hidden`, seeds 0, 1, each for 20 iterations. The first configuration is a \
                    network of 2 layers (leaky 4, leaky 1; ";
    assert!(text.contains(expected), "{text}");
    sandbox.write("plain.toml", SMALL.replace("\"small\"", "\"plain\""));
    sandbox.fine(["plain.toml"]);
    let plain = std::fs::read_to_string(sandbox.path("results/plain/report.html")).unwrap();
    assert!(plain.contains("A network of 2 layers (leaky 8, leaky 1; "), "{plain}");
}

#[test]
fn axes_of_steps_and_iterations_have_whole_numbers_and_any_axis_two_ticks() {
    let text = SMALL.replace("steps = 12", "steps = 2").replace("iterations = 20", "iterations = 3");
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    for (name, whole) in [("output", ["0", "1"].as_slice()), ("loss", &["0", "1", "2"]), ("by_seed", &["0", "1"])] {
        let svg = std::fs::read_to_string(sandbox.path(&format!("results/small/plots/{name}.svg"))).unwrap();
        // Labels of the x axis are centred, those of the y axis end at it; each text stands in a line of its own.
        let ticks = |anchor: &str| -> Vec<&str> {
            let texts = svg.split("<text ").skip(1).filter(|text| text.contains(&format!("text-anchor=\"{anchor}\"")));
            let inner = texts.map(|text| text.split_once('>').unwrap().1.split("</text>").next().unwrap().trim());
            inner.filter(|text| text.parse::<f64>().is_ok()).collect()
        };
        assert_eq!(ticks("middle"), whole, "{name}");
        assert!(ticks("end").len() >= 2, "{name}: {:?}", ticks("end"));
    }
}

#[test]
fn what_is_not_defined_is_called_so() {
    let dataset = "kind = \"dataset\"\nname = \"flat\"\n[inputs]\nx = \"t\"\n[targets]\ny = \"1\"\n";
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("kind = \"sqrt\"", "kind = \"flat\""));
    sandbox.write("plugins/flat.toml", dataset);
    let ran = sandbox.fine(["small.toml"]);
    assert!(ran.stdout.contains("undefined"), "{}", ran.stdout);
    assert!(page(&sandbox).contains("not defined"));
}

#[test]
fn a_study_whose_trials_all_failed_still_has_a_page() {
    let sandbox =
        Sandbox::with("small.toml", &SMALL.replace("kind = \"adam\"\nlr = 1e-2", "kind = \"sgd\"\nlr = 1e30"));
    assert_eq!(sandbox.runner(["small.toml", "--seeds", "0..3"]).status, 1);
    assert!(page(&sandbox).contains("No trial completed"));
}

#[test]
fn no_iteration_at_all_still_has_a_page() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("iterations = 20", "iterations = 0"));
    sandbox.fine(["small.toml"]);
    assert!(page(&sandbox).contains("0 iterations"));
}

#[test]
fn from_five_seeds_on_there_is_an_interval_and_below_none() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..4"]);
    assert!(page(&sandbox).contains("too few seeds for an interval"));
    sandbox.fine(["small.toml", "--seeds", "0..5"]);
    assert!(page(&sandbox).contains("in brackets its 95 % t interval"));
}
