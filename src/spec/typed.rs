//! From a checked document to types. Keys that the check guarantees are read without a second look.

use super::source::Span;
use super::tree::{Node, Table, Value};
use super::{
    Component, EarlyStop, Every, LayerSpec, Length, RandomSpec, Save, Segments, Select, Spec, Term, TrainSpec, Until,
};
use crate::statistics::precision::Precision;

/// Reads a checked document into types. Keys that the check guarantees are read without a second look.
pub fn typed(resolved: Table) -> Spec {
    let nothing = Table::default();
    let section = |key: &str| resolved.get(key).and_then(Node::as_table).unwrap_or(&nothing);
    let train = section("train");
    let terms = train.nodes("loss").iter().map(|node| {
        let loss = component(node);
        let of = loss.args.get("of").map(|of| (of.as_text().unwrap_or("").to_string(), of.span));
        Term { weight: loss.args.number("weight"), of, loss }
    });
    let layers = resolved.nodes("layer").iter().map(|node| {
        let component = component(node);
        LayerSpec { name: component.args.string("name"), component }
    });
    let data = section_component(&resolved, "data");
    let random = section("random");
    let order = random.get("order").map(|_| {
        random.nodes("order").iter().map(|node| (node.as_text().unwrap_or("").to_string(), node.span)).collect()
    });
    Spec {
        notes: Vec::new(),
        name: resolved.string("name"),
        about: resolved.string("about"),
        data_seed: data.args.seed(),
        data,
        layers: layers.collect(),
        init_seed: section("init").seed(),
        init_weights: section("init").get("weights").cloned(),
        schedule: section("optimizer").get("schedule").map(component),
        optimizer: section_component(&resolved, "optimizer"),
        train: TrainSpec {
            length: match train.get("epochs") {
                Some(_) => Length::Epochs(train.whole("epochs")),
                None => Length::Iterations(train.whole("iterations")),
            },
            batch: train.whole("batch"),
            shuffle: train.flag("shuffle"),
            loss: terms.collect(),
            metrics: train.nodes("metrics").iter().map(component).collect(),
            clip_norm: train.get("clip_norm").and_then(Node::as_number),
            record_every: train.whole("record_every"),
            watch: train.flag("watch"),
            tbptt: train.get("tbptt").map(|_| train.whole("tbptt")),
            recompute: match train.text("recompute") {
                Some(_) => Segments::Sqrt,
                None => Segments::Count(train.whole("recompute")),
            },
            save_every: train.get("save_every").map(|node| match node.as_text() {
                Some(text) => Every::Time(humantime::parse_duration(text).unwrap_or_default()),
                None => Every::Iterations(train.whole("save_every")),
            }),
            validate_every: train.get("validate_every").map_or(1, |_| train.whole("validate_every")),
            early_stop: train.get("early_stop").and_then(early_stop),
            select: if train.text("select") == Some("best") { Select::Best } else { Select::Last },
        },
        random: if random.text("generator") == Some("torch") {
            RandomSpec::Torch { order }
        } else {
            RandomSpec::Runner
        },
        seeds: seeds(section("run")),
        until: until(section("run")),
        threads: section("run").whole("threads"),
        save: match section("run").text("save") {
            Some("best") => Save::Best,
            Some("none") => Save::None,
            _ => Save::All,
        },
        report_samples: section("report").whole("samples"),
        sweep: None,
        resolved,
    }
}

fn early_stop(node: &Node) -> Option<EarlyStop> {
    let table = node.as_table()?;
    let of = table.get("of").map_or(node.span, |of| of.span);
    Some(EarlyStop {
        patience: table.whole("patience"),
        min_change: table.number("min_change"),
        of: (table.string("of"), of),
    })
}

fn component(node: &Node) -> Component {
    let args = node.as_table().cloned().unwrap_or_default();
    Component { kind: args.string("kind"), args, span: node.span }
}

fn section_component(resolved: &Table, key: &str) -> Component {
    let entry = resolved.entry(key);
    let args = entry.and_then(|e| e.node.as_table()).cloned().unwrap_or_default();
    let span = entry.map_or(Span { source: 0, start: 0, end: 0 }, |e| e.node.span);
    Component { kind: args.string("kind"), args, span }
}

fn seeds(run: &Table) -> Vec<u64> {
    match run.get("seeds").map(|node| &node.value) {
        Some(Value::Table(table)) => {
            let from = table.whole("from") as u64;
            let count = if table.entry("count").is_some() { "count" } else { "max" };
            (from..from.saturating_add(table.whole(count) as u64)).collect()
        }
        _ => run.nodes("seeds").iter().filter_map(Node::as_int).map(|seed| seed as u64).collect(),
    }
}

fn until(run: &Table) -> Option<Until> {
    let seeds = run.get("seeds")?.as_table()?;
    let until = seeds.get("until")?.as_table()?;
    let metric = until.get("metric")?;
    let precision = Precision {
        relative_half_width: until.number("relative_half_width"),
        min: until.whole("min"),
        max: seeds.whole("max"),
    };
    Some(Until { metric: (metric.as_text()?.into(), metric.span), precision, from: seeds.whole("from") as u64 })
}

impl Table {
    /// A string that the check guarantees.
    ///
    /// # Panics
    /// Where the key is not in the component's list of fields, which is a mistake in the program.
    pub fn string(&self, key: &str) -> String {
        self.text(key).unwrap_or_else(|| undeclared(key)).to_string()
    }

    /// A number that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn number(&self, key: &str) -> f64 {
        self.get(key).and_then(Node::as_number).unwrap_or_else(|| undeclared(key))
    }

    /// A whole number, not below zero, that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn whole(&self, key: &str) -> usize {
        self.get(key).and_then(Node::as_int).and_then(|i| usize::try_from(i).ok()).unwrap_or_else(|| undeclared(key))
    }

    /// A truth value that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn flag(&self, key: &str) -> bool {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Bool(b)) => *b,
            _ => undeclared(key),
        }
    }

    /// A pair of numbers that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn pair(&self, key: &str) -> (f64, f64) {
        match self.nodes(key) {
            [a, b] => {
                (a.as_number().unwrap_or_else(|| undeclared(key)), b.as_number().unwrap_or_else(|| undeclared(key)))
            }
            _ => undeclared(key),
        }
    }

    /// The items of a list; none where the key is not there.
    pub fn nodes(&self, key: &str) -> &[Node] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Array(items)) => items,
            _ => &[],
        }
    }

    /// The optional key `seed`.
    pub fn seed(&self) -> Option<u64> {
        self.get("seed").and_then(Node::as_int).map(|seed| seed as u64)
    }
}

fn undeclared<T>(key: &str) -> T {
    panic!("a component reads the key `{key}`, which its list of fields does not declare")
}
