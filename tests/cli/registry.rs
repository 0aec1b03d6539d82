//! `list`, `show`, `schema` and `init`.

use super::{SMALL, Sandbox, gallery};
use serde_json::Value;

#[test]
fn list_and_show_know_every_component() {
    let sandbox = Sandbox::empty();
    let list = sandbox.fine(["list"]).stdout;
    let names: Vec<&str> =
        list.lines().filter(|l| l.starts_with("  ")).map(|l| l.split_whitespace().next().unwrap()).collect();
    for name in ["leaky", "linear", "sqrt", "fast_sigmoid", "adam", "rmsprop", "relative_error", "torch_linear", "mse"]
    {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for name in names {
        let page = sandbox.fine(["show", name]).stdout;
        assert!(page.contains(&format!("`{name}`")), "{page}");
    }
}

#[test]
fn show_prints_equations_and_keys_of_a_neuron() {
    insta::assert_snapshot!(Sandbox::empty().fine(["show", "leaky"]).stdout);
}

#[test]
fn a_neuron_is_shown_as_the_layer_that_it_is() {
    let sandbox = Sandbox::empty();
    let page = sandbox.fine(["show", "layer", "leaky"]).stdout;
    assert!(page.contains("mem   = beta * prev.mem + current - pull"), "{page}");
}

#[test]
fn show_suggests_the_nearest_name() {
    let ran = Sandbox::empty().runner(["show", "leeky"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

fn schema() -> jsonschema::Validator {
    let text = Sandbox::empty().fine(["schema"]).stdout;
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// TOML as JSON, by way of the crate's own tree.
fn json(text: &str) -> Value {
    use runner::spec::{source::Sources, tree};
    fn convert(value: &tree::Value) -> Value {
        match value {
            tree::Value::Bool(b) => (*b).into(),
            tree::Value::Int(i) => (*i).into(),
            tree::Value::Float(f) => (*f).into(),
            tree::Value::Text(t) => t.as_str().into(),
            tree::Value::Array(items) => items.iter().map(|item| convert(&item.value)).collect(),
            tree::Value::Table(t) => {
                Value::Object(t.entries.iter().map(|e| (e.key.clone(), convert(&e.node.value))).collect())
            }
        }
    }
    let mut sources = Sources::default();
    let source = sources.add("test", text);
    let mut found = Default::default();
    let table = tree::parse(&sources, source, &mut found);
    assert!(found.is_empty(), "{:?}", found.list);
    convert(&tree::Value::Table(table))
}

#[test]
fn the_gallery_validates_against_the_schema() {
    let schema = schema();
    for file in gallery() {
        let document = json(&std::fs::read_to_string(&file).unwrap());
        let errors: Vec<String> =
            schema.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
    }
}

#[test]
fn the_schema_rejects_what_it_can_see() {
    let schema = schema();
    assert!(schema.is_valid(&json(SMALL)));
    for (from, to) in [
        ("iterations", "iterashuns"),
        ("steps = 12", "steps = \"many\""),
        ("steps = 12", "steps = 0"),
        ("steps = 12", ""),
        ("kind = \"leaky\"", "kind = \"leeky\""),
        ("kind = \"adam\"", "kind = \"adamm\""),
        ("lr = 1e-2", "lr = -1"),
        ("name = \"small\"", ""),
        ("name = \"small\"", "name = \"Small thing\""),
        ("loss = \"mse\"", "loss = \"msr\""),
        ("seeds = [0]", "seeds = [1, 1]"),
        ("uniform = [0, 1]", "uniform = [0]"),
        ("reset = \"none\"", "reset = \"nonne\""),
    ] {
        assert!(SMALL.contains(from), "{from}");
        assert!(!schema.is_valid(&json(&SMALL.replacen(from, to, 1))), "{from} -> {to}");
    }
}

#[test]
fn a_plugin_appears_in_list_show_and_schema_and_trains() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replacen("kind = \"leaky\"", "kind = \"my_neuron\"", 1));
    sandbox.write("plugins/my_neuron.toml", include_str!("../../plugins/template/my_neuron.toml"));
    assert!(sandbox.fine(["list"]).stdout.contains("my_neuron"));
    assert!(sandbox.fine(["show", "my_neuron"]).stdout.contains("fatigue = rho * prev.fatigue + fired"));
    assert!(sandbox.fine(["schema"]).stdout.contains("layer.my_neuron"));
    sandbox.fine(["small.toml"]);
    let manifest = std::fs::read_to_string(sandbox.path("results/small/manifest.json")).unwrap();
    assert!(manifest.contains("fatigue"), "the plugin's text is kept");
}

#[test]
fn a_changed_plugin_is_another_experiment() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replacen("kind = \"leaky\"", "kind = \"my_neuron\"", 1));
    let text = include_str!("../../plugins/template/my_neuron.toml");
    sandbox.write("plugins/my_neuron.toml", text);
    sandbox.fine(["small.toml"]);
    sandbox.write("plugins/my_neuron.toml", text.replace("strength * prev.fatigue", "2 * strength * prev.fatigue"));
    assert_eq!(sandbox.runner(["small.toml"]).status, 2);
}

#[test]
fn init_makes_a_folder_that_runs_and_never_overwrites() {
    let sandbox = Sandbox::empty();
    sandbox.fine(["init", "mine"]);
    let first = std::fs::read_to_string(sandbox.path("mine/first.toml")).unwrap();
    assert!(first.contains("# "));
    sandbox.fine([
        "mine/first.toml",
        "--set",
        "train.iterations=2",
        "--set",
        "layer.hidden.kind=my_neuron",
        "--set",
        "layer.hidden.size=4",
    ]);
    for file in [
        "sqrt",
        "linear",
        "sqrt_sweep",
        "sqrt_rates",
        "sqrt_until",
        "sqrt_race",
        "sqrt_torch",
        "linear_torch",
        "diabetes",
        "sunspots",
        "sunspots_origins",
    ] {
        sandbox.fine(["check", &format!("mine/gallery/{file}.toml")]);
    }
    sandbox.fine(["mine/table.toml", "--seeds", "0", "--set", "train.epochs=2"]);
    sandbox.fine(["init", "mine"]);
    sandbox.write("mine/first.toml", "mine now");
    let again = sandbox.runner(["init", "mine"]);
    assert_eq!(again.status, 2);
    assert!(again.stderr.contains("nothing was written"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(sandbox.path("mine/first.toml")).unwrap(), "mine now");
}
