//! The keys of an experiment file, beside those of its components.

use super::Component;
use super::component::Kind;
use super::fields::{Field, Type};
use super::key::{Choice, Key, KeyType, Keys, Placed, ToValue, number};
use super::tree::{Node, Table, Value};
use super::{DataSpec, Every, LayerSpec, Length, OptimizerSpec, ScheduleSpec, Segments, Term, Until};
use crate::keys;
use crate::statistics::FEWEST;
use crate::statistics::precision::Precision;

keys! {
    /// The keys of an experiment file. Layers are checked one by one, after their `kind`.
    pub struct Document {
        /// name of the experiment and of its result folder
        pub name: String = name(),
        /// what the experiment is about, in a sentence
        pub about: String = text().or(String::new()),
        /// named values for formulas
        pub r#let: Option<Table> = free().optional(),
        /// the dataset
        pub data: DataSpec = Key::new(Type::Component(Kind::Dataset)),
        /// the layers, from the input on
        pub layer: Vec<LayerSpec> = Key::new(Type::List(Box::new(Type::Free))),
        /// initial parameters
        pub init: Option<InitKeys> = table::<InitKeys>().optional(),
        /// the optimizer
        pub optimizer: OptimizerSpec = Key::new(Type::Component(Kind::Optimizer)),
        /// training
        pub train: TrainSpec = table(),
        /// random numbers
        pub random: RandomKeys = table().or_empty(),
        /// what is run and stored
        pub run: RunKeys = table().or_empty(),
        /// what the report shows
        pub report: ReportKeys = table().or_empty(),
    }
}

keys! {
    /// The keys of `[init]`.
    pub struct InitKeys {
        /// a seed for the initial parameters of all trials
        pub seed: Option<u64> = seed().optional(),
        /// a .safetensors file with all parameters of the network
        pub weights: Option<Placed<String>> = path().optional(),
    }
}

keys! {
    /// The keys of `[train]`.
    pub struct TrainSpec {
        /// when it ends
        pub length: Length = Key::new(Type::at_least(0)),
        /// samples an iteration
        pub batch: usize = at_least(1).or(1),
        /// a new order of samples each epoch
        pub shuffle: bool = flag().or(true),
        /// what training lowers
        pub loss: Vec<Term> = Key::new(Type::Terms(Kind::Loss)),
        /// what is recorded
        pub metrics: Vec<Component> = list(component(Kind::Metric)).or(Vec::new()),
        /// largest norm of the whole gradient
        pub clip_norm: Option<f64> = number(Range::POSITIVE).optional(),
        /// iterations between rows of the history
        pub record_every: usize = at_least(1).or(1),
        /// firing rates and gradient norms of layers in the history
        pub watch: bool = flag().or(false),
        /// steps after which gradients stop on their way back in time
        pub tbptt: Option<usize> = at_least(1).optional(),
        /// segments of time, of which all but one are computed twice and not kept; `sqrt`: the root of the steps
        pub recompute: Segments = Key::new(Type::CountOr("sqrt")).or(Segments::Count(1)),
        /// how often a trial is saved, so that it can go on where it was
        pub save_every: Option<Every> = Key::<Every>::new(Type::Every).optional(),
        /// weights that are kept: the last, or the best: of the lowest validation loss, without one training loss
        pub select: Select = one_of().or(Select::Last),
        /// epochs from one validation to the next; 1 unless given
        pub validate_every: Option<usize> = at_least(1).optional(),
        /// ends training when nothing gets better
        pub early_stop: Option<EarlyStop> = table::<EarlyStop>().optional(),
    }
}

keys! {
    /// The keys of `[train] early_stop`.
    pub struct EarlyStop {
        /// validations in a row without a lower loss
        pub patience: usize = at_least(1),
        /// how much lower a loss must be to count
        pub min_change: f64 = number(Range::NOT_NEGATIVE).or(0.0),
        /// `validation.loss`, or `loss`
        pub of: Placed<String> = text().or("validation.loss".into()).placed(),
    }
}

/// Which weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// Those after the last update.
    Last,
    /// Those of the lowest validation loss, or training loss where nothing is validated.
    Best,
}

impl Choice for Select {
    const WORDS: &'static [(&'static str, Select)] = &[("last", Select::Last), ("best", Select::Best)];
}

keys! {
    /// The keys that a loss takes beside its own.
    pub struct TermKeys {
        /// factor in the sum of all losses
        pub weight: f64 = number(Range::NOT_NEGATIVE).or(1.0),
        /// the signal it reads, such as `hidden_1.spikes`; else the network's output
        pub of: Option<Placed<String>> = text().placed().optional(),
    }
}

/// What a sample's part depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Chance.
    Random,
    /// Its place: trained on first, tested on last.
    Order,
    /// What a column of the file says.
    Column,
}

impl Choice for By {
    const WORDS: &'static [(&'static str, By)] =
        &[("random", By::Random), ("order", By::Order), ("column", By::Column)];
}

keys! {
    /// The keys of `[data.split]`.
    pub struct SplitKeys {
        /// `random` (not for windows, which overlap), `order`: trained on first, tested on last, or `column`
        pub by: Option<Placed<By>> = one_of().placed().optional(),
        /// the column that says `train`, `validation` or `test`. A window has the part of its target's row, and is left
        /// out where a row of it is of a later part (`validation` is later than `train`, `test` than both); a sequence lies in one part
        pub column: Option<Placed<String>> = text().placed().optional(),
        /// share that is trained on; the rest unless given. In `order` the shares may sum up to less than 1, which leaves
        /// later rows out: swept, it is a rolling origin
        pub train: Option<Placed<f64>> = share(),
        /// share that chooses weights and ends training
        pub validation: Option<Placed<f64>> = share(),
        /// share that is tested on
        pub test: Option<Placed<f64>> = share(),
        /// cut into so many folds, of which one is tested on; at most as many as there are samples
        pub folds: Option<Placed<usize>> = at_least(2).placed().optional(),
        /// which fold is tested on, from 0
        pub fold: Option<Placed<usize>> = at_least(0).placed().optional(),
        /// a seed for the split of all trials; else that of the data
        pub seed: Option<u64> = seed().optional(),
    }
}

/// A part of the samples.
fn share() -> Key<Option<Placed<f64>>> {
    number(super::key::Range::UNIT).placed().optional()
}

keys! {
    /// The keys that every dataset takes beside its own.
    pub struct DatasetKeys {
        /// a seed for the data of all trials
        pub seed: Option<u64> = seed().optional(),
        /// what is trained, validated and tested on
        pub split: Option<Placed<SplitKeys>> = table::<SplitKeys>().placed().optional(),
    }
}

keys! {
    /// The keys that every layer takes beside its own.
    pub struct LayerKeys {
        /// its name
        pub name: String = name(),
        /// the signals that it reads, by default what the layer before it hands on
        pub from: Option<Vec<SourceKeys>> = Key::new(Type::Sources).optional(),
    }
}

keys! {
    /// What a layer reads.
    pub struct SourceKeys {
        /// the signal, `LAYER.SIGNAL`; a layer alone is what it hands on, and `input` the data
        pub of: Placed<String> = text_at(),
        /// whole steps by which it comes later
        pub delay: Option<usize> = at_least(0).optional(),
        /// what its weights are called, `weight.NAME`, beside those of other sources
        pub r#as: Option<Placed<String>> = Key::<Placed<String>>::new(Type::Name).optional(),
    }
}

fn text_at() -> Key<Placed<String>> {
    Key::new(Type::Text)
}

keys! {
    /// The keys that every optimizer takes beside its own.
    pub struct OptimizerKeys {
        /// how all learning rates change
        pub schedule: Option<ScheduleSpec> = Key::<ScheduleSpec>::new(Type::Component(Kind::Schedule)).optional(),
    }
}

keys! {
    /// The keys that every schedule takes beside its own.
    pub struct ScheduleKeys {
        /// iterations before it begins, over which rates rise evenly to where it begins
        pub warmup: Placed<usize> = at_least(0).or(0).placed(),
    }
}

keys! {
    /// The keys of `[random]`.
    pub struct RandomKeys {
        /// `runner`: a stream a seed and purpose; `torch`: PyTorch's CPU generator
        pub generator: GeneratorName = one_of().or(GeneratorName::Runner),
        /// for `torch`: in which order things are drawn
        pub order: Option<Vec<Placed<String>>> = list(text().placed()).optional(),
    }
}

/// Where random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneratorName {
    /// A stream for each seed and purpose.
    Runner,
    /// PyTorch's generator, from which named things are drawn one after the other.
    Torch,
}

impl Choice for GeneratorName {
    const WORDS: &'static [(&'static str, GeneratorName)] =
        &[("runner", GeneratorName::Runner), ("torch", GeneratorName::Torch)];
}

keys! {
    /// The keys of `[run]`.
    pub struct RunKeys {
        /// one trial a seed
        pub seeds: SeedList = Key::new(Type::Seeds).or_written(vec![0_u64].written()),
        /// threads of a trial, for large batches
        pub threads: usize = between(1, 4096).or(1),
        /// trials whose weights are stored
        pub save: Save = one_of().or(Save::All),
    }
}

/// Which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// Those of every trial.
    All,
    /// Those of the trial of the lowest loss.
    Best,
    /// None.
    None,
}

impl Choice for Save {
    const WORDS: &'static [(&'static str, Save)] = &[("all", Save::All), ("best", Save::Best), ("none", Save::None)];
}

keys! {
    /// The keys of `[report]`.
    pub struct ReportKeys {
        /// samples with traces, a trial
        pub samples: usize = at_least(1).or(4),
    }
}

/// The seeds of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedList {
    /// All that there may be.
    pub all: Vec<u64>,
    /// How many of them are enough, if that is left to the results.
    pub until: Option<Until>,
}

keys! {
    /// The keys of `seeds = { .. }`.
    pub struct SeedsKeys {
        /// the first seed
        from: u64 = seed().or(0),
        /// how many seeds
        count: Option<u64> = Key::<u64>::new(Type::Int { min: 1, max: 10_000_000 }).optional(),
        /// run seeds until a mean is known well enough
        until: Option<UntilKeys> = table::<UntilKeys>().optional(),
        /// with `until`: how many seeds at most
        max: Option<usize> = between(FEWEST as i64, 100_000).optional(),
    }
}

keys! {
    /// The keys of `seeds = { until = { .. } }`.
    pub struct UntilKeys {
        /// half the width of the interval, as a part of the mean, at which seeds are enough
        relative_half_width: f64 = number(Range { min: 0.0, max: 1.0, above: true }),
        /// `loss` or a metric, whose mean is to be known
        metric: Placed<String> = text().placed(),
        /// seeds at the first look
        min: usize = between(FEWEST as i64, 100_000).or(10),
    }
}

impl KeyType for SeedList {
    fn from_node(node: &Node) -> Option<SeedList> {
        let Value::Table(table) = &node.value else {
            return Some(SeedList { all: Vec::from_node(node)?, until: None });
        };
        let keys = SeedsKeys::read(table)?;
        let count = keys.count.or(keys.max.map(|max| max as u64))?;
        let until = keys.until.zip(keys.max).map(|(until, max)| {
            let UntilKeys { relative_half_width, metric, min } = until;
            Until { metric, precision: Precision { relative_half_width, min, max }, from: keys.from }
        });
        Some(SeedList { all: (keys.from..keys.from.saturating_add(count)).collect(), until })
    }
}

impl KeyType for Length {
    fn from_node(_: &Node) -> Option<Length> {
        None
    }

    fn from_table(table: &Table, _: &str) -> Option<Length> {
        let LengthKeys { iterations, epochs } = LengthKeys::read(table)?;
        epochs.map(Length::Epochs).or(iterations.map(Length::Iterations))
    }

    fn declared(_: Key<Length>, _: &str, _: &str) -> Vec<Field> {
        LengthKeys::fields()
    }
}

keys! {
    /// How long training takes, in one of two ways.
    struct LengthKeys {
        /// updates; or give `epochs`
        iterations: Option<usize> = at_least(0).optional(),
        /// passes over the data; or give `iterations`
        epochs: Option<usize> = at_least(0).optional(),
    }
}

impl KeyType for Segments {
    fn from_node(node: &Node) -> Option<Segments> {
        match node.as_text() {
            Some(_) => Some(Segments::Sqrt),
            None => usize::from_node(node).map(Segments::Count),
        }
    }
}

impl ToValue for Segments {
    fn written(self) -> Value {
        match self {
            Segments::Sqrt => Value::Text("sqrt".into()),
            Segments::Count(count) => count.written(),
        }
    }
}

impl KeyType for Every {
    fn from_node(node: &Node) -> Option<Every> {
        match node.as_text() {
            Some(text) => humantime::parse_duration(text).ok().map(Every::Time),
            None => usize::from_node(node).map(Every::Iterations),
        }
    }
}

/// Components with keys that belong to their place.
macro_rules! placed_components {
    ($($ty:ty: |$component:ident| $made:expr;)*) => {
        $(
            impl KeyType for $ty {
                fn from_node(node: &Node) -> Option<$ty> {
                    let $component = Component::of_node(node)?;
                    Some($made)
                }
            }
        )*
    };
}

placed_components! {
    DataSpec: |component| DataSpec { common: DatasetKeys::read(&component.args)?, component, unlabelled: false };
    LayerSpec: |component| {
        let LayerKeys { name, from } = LayerKeys::read(&component.args)?;
        LayerSpec { name, from, component }
    };
    OptimizerSpec: |component| OptimizerSpec { schedule: OptimizerKeys::read(&component.args)?.schedule, component };
    ScheduleSpec: |component| ScheduleSpec { common: ScheduleKeys::read(&component.args)?, component };
    Term: |component| Term { common: TermKeys::read(&component.args)?, loss: component };
}

/// The keys that every component of a kind takes beside its own.
pub fn common_fields(kind: Kind) -> Vec<Field> {
    match kind {
        Kind::Dataset => DatasetKeys::fields(),
        Kind::Layer => LayerKeys::fields(),
        Kind::Optimizer => OptimizerKeys::fields(),
        Kind::Schedule => ScheduleKeys::fields(),
        Kind::Neuron
        | Kind::Surrogate
        | Kind::Loss
        | Kind::Metric
        | Kind::Initialiser
        | Kind::Sampler
        | Kind::Pruner => Vec::new(),
    }
}
