//! The keys of an experiment file.

use super::component::{Components, Kind};
use super::fields::{Field, Range, SEED, Type};
use super::source::Span;
use super::tree::{Node, Table, Value};

/// The keys of an experiment file. Layers are checked one by one, after their `kind`.
pub fn document_fields() -> Vec<Field> {
    let text = |s: &str| Value::Text(s.into());
    vec![
        Field::required("name", Type::Name, "name of the experiment and of its result folder"),
        Field::default("about", Type::Text, text(""), "what the experiment is about, in a sentence"),
        Field::optional("let", Type::Free, "named values for formulas"),
        Field::required("data", Type::Component(Kind::Dataset), "the dataset"),
        Field::required("layer", Type::List(Box::new(Type::Free)), "the layers, from the input on"),
        Field::optional(
            "init",
            Type::Table(vec![
                Field::optional("seed", SEED, "a seed for the initial parameters of all trials"),
                Field::optional("weights", Type::Path, "a .safetensors file with all parameters of the network"),
            ]),
            "initial parameters",
        ),
        Field::required("optimizer", Type::Component(Kind::Optimizer), "the optimizer"),
        Field::required("train", Type::Table(train_fields()), "training"),
        Field::default("random", Type::Table(random_fields()), Value::Table(Table::default()), "random numbers"),
        Field::default("run", Type::Table(run_fields()), Value::Table(Table::default()), "what is run and stored"),
        Field::default(
            "report",
            Type::Table(vec![Field::default(
                "samples",
                Type::at_least(1),
                Value::Int(4),
                "samples with traces, a trial",
            )]),
            Value::Table(Table::default()),
            "what the report shows",
        ),
    ]
}

/// The keys of `[train]`.
fn train_fields() -> Vec<Field> {
    let text = |s: &str| Value::Text(s.into());
    vec![
        Field::optional("iterations", Type::at_least(0), "updates; or give `epochs`"),
        Field::optional("epochs", Type::at_least(0), "passes over the data; or give `iterations`"),
        Field::default("batch", Type::at_least(1), Value::Int(1), "samples an iteration"),
        Field::default("shuffle", Type::Bool, Value::Bool(true), "a new order of samples each epoch"),
        Field::required("loss", Type::Terms(Kind::Loss), "what training lowers"),
        Field::default(
            "metrics",
            Type::List(Box::new(Type::Component(Kind::Metric))),
            Value::Array(Vec::new()),
            "what is recorded",
        ),
        Field::optional("clip_norm", Type::Number(Range::POSITIVE), "largest norm of the whole gradient"),
        Field::default("record_every", Type::at_least(1), Value::Int(1), "iterations between rows of the history"),
        Field::default(
            "watch",
            Type::Bool,
            Value::Bool(false),
            "firing rates and gradient norms of layers in the history",
        ),
        Field::optional("tbptt", Type::at_least(1), "steps after which gradients stop on their way back in time"),
        Field::default(
            "recompute",
            Type::CountOr("sqrt"),
            Value::Int(1),
            "segments of time, of which all but one are computed twice and not kept; `sqrt`: the root of the steps",
        ),
        Field::optional("save_every", Type::Every, "how often a trial is saved, so that it can go on where it was"),
        Field::default(
            "select",
            Type::Choice(vec!["last".into(), "best".into()]),
            text("last"),
            "weights that are kept: the last, or the best: of the lowest validation loss, without one training loss",
        ),
        Field::optional("validate_every", Type::at_least(1), "epochs from one validation to the next; 1 unless given"),
        Field::optional("early_stop", Type::Table(early_stop_fields()), "ends training when nothing gets better"),
    ]
}

/// The keys of `[train] early_stop`.
fn early_stop_fields() -> Vec<Field> {
    vec![
        Field::required("patience", Type::at_least(1), "validations in a row without a lower loss"),
        Field::number("min_change", Range::NOT_NEGATIVE, 0.0, "how much lower a loss must be to count"),
        Field::default("of", Type::Text, Value::Text("validation.loss".into()), "`validation.loss`, or `loss`"),
    ]
}

/// The keys of `[data.split]`.
pub fn split_fields() -> Vec<Field> {
    let words = |words: &[&str]| Type::Choice(words.iter().map(|word| word.to_string()).collect());
    let share = |name: &str, about: &str| Field::optional(name, Type::Number(Range::UNIT), about);
    vec![
        Field::optional(
            "by",
            words(&["random", "order", "column"]),
            "`random` (not for windows, which overlap), `order`: trained on first, tested on last, or `column`",
        ),
        Field::optional(
            "column",
            Type::Text,
            "the column that says `train`, `validation` or `test`. A window has the part of its target's row, and is left \
             out where a row of it is of a later part (`validation` is later than `train`, `test` than both); a sequence lies in one part",
        ),
        share(
            "train",
            "share that is trained on; the rest unless given. In `order` the shares may sum up to less than 1, which leaves \
             later rows out: swept, it is a rolling origin",
        ),
        share("validation", "share that chooses weights and ends training"),
        share("test", "share that is tested on"),
        Field::optional(
            "folds",
            Type::at_least(2),
            "cut into so many folds, of which one is tested on; at most as many as there are samples",
        ),
        Field::optional("fold", Type::at_least(0), "which fold is tested on, from 0"),
        Field::optional("seed", SEED, "a seed for the split of all trials; else that of the data"),
    ]
}

fn random_fields() -> Vec<Field> {
    let generators = Type::Choice(vec!["runner".into(), "torch".into()]);
    let about = "`runner`: a stream a seed and purpose; `torch`: PyTorch's CPU generator";
    vec![
        Field::default("generator", generators, Value::Text("runner".into()), about),
        Field::optional("order", Type::List(Box::new(Type::Text)), "for `torch`: in which order things are drawn"),
    ]
}

fn run_fields() -> Vec<Field> {
    let at = Span { source: 0, start: 0, end: 0 };
    let saves = Type::Choice(vec!["all".into(), "best".into(), "none".into()]);
    vec![
        Field::default("seeds", Type::Seeds, Value::Array(vec![Node::new(Value::Int(0), at)]), "one trial a seed"),
        Field::default(
            "threads",
            Type::Int { min: 1, max: 4096 },
            Value::Int(1),
            "threads of a trial, for large batches",
        ),
        Field::default("save", saves, Value::Text("all".into()), "trials whose weights are stored"),
    ]
}

/// The keys of a parameter's table. Given values are one a layer unless `per` says otherwise, drawn ones one a neuron.
pub fn parameter_fields(registry: &dyn Components, given: bool) -> Vec<Field> {
    let mut fields = vec![Field::optional("value", Type::Number(Range::ANY), "the value")];
    for name in registry.names(Kind::Initialiser) {
        let info = registry.info(Kind::Initialiser, name);
        if let Some([argument]) = info.map(|info| info.fields.as_slice()) {
            fields.push(Field::optional(name, argument.ty.clone(), &argument.about));
        }
    }
    let per = if given { "layer" } else { "neuron" };
    fields.push(Field::default("learn", Type::Bool, Value::Bool(false), "whether training changes it"));
    let choices = Type::Choice(vec!["neuron".into(), "layer".into()]);
    fields.push(Field::default("per", choices, Value::Text(per.into()), "one value a neuron, or one for the layer"));
    fields.push(Field::optional("lr", Type::Number(Range::POSITIVE), "its own learning rate"));
    fields
}

/// The keys that every component of a kind takes beside its own.
pub fn common_fields(kind: Kind) -> Vec<Field> {
    match kind {
        Kind::Dataset => {
            vec![
                Field::optional("seed", SEED, "a seed for the data of all trials"),
                Field::optional("split", Type::Table(split_fields()), "what is trained, validated and tested on"),
            ]
        }
        Kind::Layer => vec![Field::required("name", Type::Name, "its name")],
        Kind::Optimizer => {
            vec![Field::optional("schedule", Type::Component(Kind::Schedule), "how all learning rates change")]
        }
        Kind::Schedule => vec![Field::default(
            "warmup",
            Type::at_least(0),
            Value::Int(0),
            "iterations before it begins, over which rates rise evenly to where it begins",
        )],
        Kind::Neuron
        | Kind::Surrogate
        | Kind::Loss
        | Kind::Metric
        | Kind::Initialiser
        | Kind::Sampler
        | Kind::Pruner => Vec::new(),
    }
}
