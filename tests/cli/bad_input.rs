//! Wrong requests: the message to the letter, status 2, and nothing changed on disk.

use super::{SMALL, Sandbox};

/// Runs a file, insists on a refusal that leaves nothing behind, and gives what it printed.
pub fn refusal(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let before = files(sandbox);
    let ran: super::Ran = sandbox.command().args(arguments).output().unwrap().into();
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "");
    assert_eq!(files(sandbox), before, "something changed on disk");
    ran.stderr
}

fn files(sandbox: &Sandbox) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(sandbox.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The refusal of the small experiment with one part replaced.
fn refusal_with(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    refusal(&Sandbox::with("small.toml", &SMALL.replace(from, to)), &["small.toml"])
}

macro_rules! refused {
    ($($name:ident: $from:expr => $to:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(refusal_with($from, $to));
        }
    )*};
}

refused! {
    an_unknown_key_is_named_with_a_suggestion: "iterations" => "iterashuns";
    a_value_of_the_wrong_type_is_underlined: "steps = 12" => "steps = \"many\"";
    an_unknown_component_is_reported_with_the_nearest_name: "kind = \"leaky\"\nsize = 1" => "kind = \"leeky\"\nsize = 1";
    an_unknown_component_far_from_all_lists_them: "kind = \"sqrt\"" => "kind = \"mnist\"";
    a_missing_key_is_named_with_its_meaning: "steps = 12" => "";
    a_missing_kind_lists_what_there_is: "kind = \"adam\"\n" => "";
    a_number_out_of_range_is_reported_with_the_range: "lr = 1e-2" => "lr = -1";
    a_formula_out_of_range_is_reported_with_its_value: "\"=hidden\"" => "\"=hidden - 8\"";
    a_syntax_error_in_a_formula_is_underlined_in_the_file: "\"=hidden\"" => "\"=2 * (hidden + \"";
    an_unknown_name_in_a_formula_is_underlined: "\"=hidden\"" => "\"=2 * hiden\"";
    a_formula_over_text_is_refused: "hidden = 8" => "hidden = \"eight\"";
    shapes_that_do_not_fit_are_reported_with_both: "size = 1\n" => "size = 3\n";
    names_that_need_each_other_are_reported: "hidden = 8" => "hidden = \"=other + 1\"\nother = \"=hidden / 2\"";
    a_duplicate_layer_points_to_the_first: "\"readout\"" => "\"hidden_1\"";
    a_duplicate_metric_is_reported: "[\"l1\", \"nmse\"]" => "[\"l1\", \"l1\"]";
    iterations_and_epochs_exclude_each_other: "iterations = 20" => "iterations = 20\nepochs = 3";
    seeds_that_repeat_are_reported: "seeds = [0]" => "seeds = [3, 1, 3]";
    no_seed_is_too_few: "seeds = [0]" => "seeds = []";
    a_later_format_is_refused_with_one_sentence: "name = \"small\"" => "format = 2\nname = \"small\"";
    a_layer_patch_beside_layers_is_explained: "[optimizer]" => "[layer.hidden_1]\nsize = 4\n\n[optimizer]";
    two_values_of_one_parameter_are_refused: "{ uniform = [0, 1], learn = true }" => "{ uniform = [0, 1], value = 0.5 }";
    a_distribution_the_wrong_way_round_is_refused: "uniform = [0, 1]" => "uniform = [1, 0]";
    a_loss_of_an_unknown_signal_is_refused: "loss = \"mse\"" => "loss = { kind = \"mse\", of = \"hidden_1.spike\" }";
    a_loss_of_a_signal_of_another_shape_is_refused: "loss = \"mse\"" => "loss = [\"mse\", { kind = \"l1\", of = \"hidden_1.spikes\" }]";
    a_date_is_no_value: "steps = 12" => "steps = 2024-01-01";
    an_order_of_draws_that_leaves_something_out_is_refused:
        "[run]" => "[random]\ngenerator = \"torch\"\norder = [\"data\", \"hidden_1.gamma\"]\n\n[run]";
    a_seed_too_large_for_torch_is_refused: "seeds = [0]" => "seeds = [4294967296]\n\n[random]\ngenerator = \"torch\"";
    a_network_that_no_machine_holds_is_refused: "hidden = 8" => "hidden = 4000000000";
    data_that_no_machine_holds_are_blamed_before_the_layers: "steps = 12" => "steps = 4000000000";
    steps_that_make_a_signal_too_large_are_blamed_for_it: "steps = 12" => "steps = 1000000000";
    layers_in_single_brackets_are_told_of_double_ones: "\n[[layer]]\nname = \"readout\"\nkind = \"leaky\"\nsize = 1" => "\n[layer]\n[layer]";
    text_that_is_not_toml_is_underlined: "steps = 12" => "steps = = 12";
}

#[test]
fn five_mistakes_give_five_diagnostics_in_one_run() {
    let text = SMALL
        .replace("steps = 12", "steps = 0")
        .replace("\"=hidden\"", "\"=hiden\"")
        .replace("lr = 1e-2", "lr = \"fast\"")
        .replace("reset = \"none\"", "reset = \"nonne\"")
        .replace("loss = \"mse\"", "loss = \"msee\"");
    let printed = refusal(&Sandbox::with("small.toml", &text), &["small.toml"]);
    assert!(printed.ends_with("error: 5 problems; nothing was run\n"));
    insta::assert_snapshot!(printed);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    insta::assert_snapshot!(refusal(&Sandbox::empty(), &["nothing.toml"]));
}

#[test]
fn a_folder_is_no_experiment() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir(sandbox.path("folder.toml")).unwrap();
    insta::assert_snapshot!(refusal(&sandbox, &["folder.toml"]));
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_the_place() {
    let sandbox = Sandbox::empty();
    sandbox.write("bytes.toml", b"name = \"x\"\nabout = \"\xff\"\n");
    insta::assert_snapshot!(refusal(&sandbox, &["bytes.toml"]));
}

#[test]
fn a_file_above_one_mebibyte_is_refused() {
    let sandbox = Sandbox::with("large.toml", &format!("# {}\n", "x".repeat(1 << 20)));
    insta::assert_snapshot!(refusal(&sandbox, &["large.toml"]));
}

#[test]
fn of_garbage_at_most_fifty_diagnostics_are_shown() {
    let garbage: String = (0..200).map(|i| format!("= {i} ]] \"\n")).collect();
    let printed = refusal(&Sandbox::with("garbage.toml", &garbage), &["garbage.toml"]);
    assert_eq!(printed.lines().filter(|line| line.starts_with("error: not TOML")).count(), 50);
    assert!(printed.lines().last().unwrap().contains("of which 50 are shown"), "{printed}");
}

#[test]
fn extending_in_a_circle_is_reported() {
    let sandbox = Sandbox::with("a.toml", "extends = \"b.toml\"\n");
    sandbox.write("b.toml", "extends = \"a.toml\"\n");
    insta::assert_snapshot!(refusal(&sandbox, &["a.toml"]));
}

#[test]
fn extending_a_missing_file_is_underlined() {
    insta::assert_snapshot!(refusal(&Sandbox::with("a.toml", "extends = \"b.toml\"\n"), &["a.toml"]));
}

#[test]
fn a_patch_of_an_unknown_layer_is_underlined() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("patch.toml", "extends = \"small.toml\"\n\n[layer.hiden_1]\nsize = 3\n");
    insta::assert_snapshot!(refusal(&sandbox, &["patch.toml"]));
}

#[test]
fn setting_an_unknown_path_is_underlined_in_the_option() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    insta::assert_snapshot!(refusal(&sandbox, &["small.toml", "--set", "optimizer.lrr=1e-3"]));
}

#[test]
fn setting_an_unknown_layer_is_underlined_in_the_option() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    insta::assert_snapshot!(refusal(&sandbox, &["small.toml", "--set", "layer.hidden_2.size=3"]));
}

#[test]
fn seeds_of_the_command_line_that_repeat_are_refused() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    insta::assert_snapshot!(refusal(&sandbox, &["small.toml", "--seeds", "5,5"]));
}

#[test]
fn a_mistake_in_a_plugin_is_underlined_in_its_own_file() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let text = "kind = \"neuron\"\nname = \"mine\"\nstates = { mem = 0.0 }\noutputs = { spikes = \"spk\" }\nstep = \"\"\"\n\
        mem = beta * prev.mme + current\nspk = spike(mem - treshold)\n\"\"\"\n[params]\nbeta = { default = 0.9 }\n\
        threshold = { default = 1.0 }\n";
    sandbox.write("plugins/mine.toml", text);
    insta::assert_snapshot!(refusal(&sandbox, &["show", "mine"]));
}

#[test]
fn a_plugin_that_takes_a_builtin_name_must_say_so() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("plugins/mse.toml", "kind = \"surrogate\"\nname = \"atan\"\nderivative = \"1\"\n");
    insta::assert_snapshot!(refusal(&sandbox, &["show", "atan"]));
}

#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("file", "");
    insta::assert_snapshot!(refusal(&sandbox, &["small.toml", "--out", "file/results"]));
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("theirs/notes.txt", "keep me");
    insta::assert_snapshot!(refusal(&sandbox, &["small.toml", "--out", "theirs"]));
    assert_eq!(std::fs::read_dir(sandbox.path("theirs")).unwrap().count(), 1);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_was_not_built_is_a_clear_error() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    insta::assert_snapshot!(refusal(&sandbox, &["small.toml", "--device", "cuda"]));
}

#[test]
fn one_wrong_file_keeps_all_from_running() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("other.toml", SMALL.replace("\"small\"", "\"other\"").replace("\"mse\"", "\"msr\""));
    let printed = refusal(&sandbox, &["small.toml", "other.toml"]);
    assert!(printed.contains("unknown loss `msr`") && printed.contains("other.toml"), "{printed}");
}

#[test]
fn a_section_that_is_not_there_is_missed_in_the_experiment() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("[optimizer]", "[optimiser]"));
    let ran = sandbox.runner(["small.toml"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn a_mistake_in_a_formula_is_underlined_where_it_stands_however_it_is_written() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for (option, value, place) in [
        ("--set", "data.steps==h\u{e9}+", "--set:1:14\n  |\n1 | data.steps==h\u{e9}+\n  |              ^\n"),
        ("--set", "data.steps==zz + 1", "--set:1:13\n  |\n1 | data.steps==zz + 1\n  |             ^^ no value"),
        ("--set", "data.steps=\"=zz + 1\"", "--set:1:14\n"),
        ("--set", "data.steps=\"=1 \\u0025 \u{e9}\u{e9}\"", "--set:1:12\n"),
        ("--set", "data.steps=\"=\\u0031 + \u{e9}\u{e9}\u{e9}$\"", "--set:1:12\n"),
        ("--sweep", "data.steps=2,=h\u{e9}", "--sweep:1:16\n"),
        ("--sweep", "  \u{e9}\u{e9}.steps=2,3", "--sweep:1:3\n"),
    ] {
        let refused = sandbox.runner(["check", "small.toml", option, value]);
        assert_eq!(refused.status, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!(" --> {place}")), "{value}: {}", refused.stderr);
    }
}
