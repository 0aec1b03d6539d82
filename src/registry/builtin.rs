//! The components that every binary carries.

use super::Registry;
use super::additions::Additions;
use crate::data::file::Tables;
use crate::data::series::{self, SeriesDataset};
use crate::data::table::{self, TableDataset};
use crate::nn::{init, linear};
use crate::search::{pruner, sampler};
use crate::spec::component::{OWN_FUNCTIONS, Origin};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::fields::{Field, Pair, Range, SEED, Type};
use crate::spec::source::Sources;
use crate::spec::tree::Value;
use crate::train::optimizer::{self, Rule};
use crate::train::{loss, metric, rate};
use std::sync::Arc;

/// The texts of built-in plugins by their paths.
macro_rules! builtin {
    ($($path:literal),* $(,)?) => {
        [$((concat!($path, ".toml"), include_str!(concat!("../../plugins/builtin/", $path, ".toml")))),*]
    };
}

/// Text plugins that every binary carries: file name and text.
const TEXTS: &[(&str, &str)] = &builtin![
    "datasets/linear",
    "datasets/sqrt",
    "neurons/alif",
    "neurons/alpha",
    "neurons/if",
    "neurons/lapicque",
    "neurons/leaky",
    "neurons/li",
    "neurons/lstm",
    "neurons/resonate_and_fire",
    "neurons/rleaky",
    "neurons/rsynaptic",
    "neurons/slstm",
    "neurons/synaptic",
    "surrogates/atan",
    "surrogates/boxcar",
    "surrogates/fast_sigmoid",
    "surrogates/gaussian",
    "surrogates/heaviside",
    "surrogates/leaky_spike",
    "surrogates/sigmoid",
    "surrogates/sparse_fast_sigmoid",
    "surrogates/spike_rate_escape",
    "surrogates/straight_through_estimator",
    "surrogates/triangle",
    "surrogates/triangular",
];

impl Registry {
    /// The built-in components.
    ///
    /// # Errors
    /// Where an embedded plugin is wrong, which a test rules out.
    pub fn builtin(sources: &mut Sources) -> Result<Registry, Diagnostics> {
        let mut registry = Registry::default();
        let mut to = Additions::new(&mut registry, Origin::BuiltIn);
        losses(&mut to);
        metrics(&mut to);
        optimizers(&mut to);
        schedules(&mut to);
        initialisers(&mut to);
        samplers(&mut to);
        pruners(&mut to);
        files(&mut to);
        to.layer("linear", linear::LinearKind)
            .about("Dense layer without neurons: y = x W^T + b at every step")
            .source("PyTorch, torch.nn.Linear")
            .fields(linear::fields())
            .detail("weight [size, inputs], bias [size]; signal: `current`\n");
        let mut found = Diagnostics::default();
        for &(name, text) in TEXTS {
            let source = sources.add(format!("plugins/builtin/{name}"), text);
            registry.add_plugin(source, None, sources, &mut found);
        }
        if found.is_empty() { Ok(registry) } else { Err(found) }
    }
}

fn losses(to: &mut Additions<'_>) {
    to.loss("mse", |_| loss::Mse)
        .about("Mean squared error over steps, samples and channels")
        .unit("target^2")
        .direct(loss::mse);
    to.loss("l1", |_| loss::L1)
        .about("Mean absolute error over steps, samples and channels")
        .unit("target")
        .direct(loss::l1);
}

fn metrics(to: &mut Additions<'_>) {
    to.metric("mse", |_| metric::mse).about("Mean squared error over steps, samples and channels").unit("target^2");
    to.metric("rmse", |_| metric::rmse)
        .about("Root of the mean squared error over steps, samples and channels")
        .unit("target");
    to.metric("l1", |_| metric::l1).about("Mean absolute error over steps, samples and channels").unit("target");
    to.metric("relative_error", |_| metric::relative_error).about(
        "Mean over the steps after the first of |error| / |target|, Euclidean over channels (snnTorch's tutorial)",
    );
    to.metric("nmse", |_| metric::nmse)
        .about("Mean squared error / variance of the target; 1 is what the target's mean gives");
    to.metric("r2", |_| metric::r2)
        .about("Coefficient of determination: 1 is perfect, 0 is what the target's mean gives")
        .higher_is_better();
}

/// Datasets that are read from files, which configurations share.
fn files(to: &mut Additions<'_>) {
    let tables = Arc::new(Tables::default());
    let shared = tables.clone();
    to.dataset("table", move |component, sources| Ok(Box::new(TableDataset::read(component, sources, &shared)?)))
        .about("Rows of a CSV, Parquet or NPY file: each is a sample, held for some steps")
        .fields(table::fields())
        .meaning(2)
        .detail("columns of an NPY file are called `0`, `1`, ...\n");
    to.dataset("series", move |component, sources| Ok(Box::new(SeriesDataset::read(component, sources, &tables)?)))
        .about(
            "Rows of a CSV, Parquet or NPY file over time: sequences that a column names, or windows over one record",
        )
        .fields(series::fields())
        .meaning(2)
        .detail(
            "windows: the last step counts in losses and metrics; sequences: every step, shorter ones are padded\n",
        );
}

fn optimizers(to: &mut Additions<'_>) {
    to.optimizer("adam", Rule::adam)
        .about("Adam (Kingma & Ba 2015, arXiv 1412.6980); weight decay as an L2 term")
        .fields(optimizer::adam_fields(0.0));
    to.optimizer("adamw", Rule::adamw)
        .about("Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101)")
        .fields(optimizer::adam_fields(0.01));
    to.optimizer("sgd", Rule::sgd)
        .about("Stochastic gradient descent, with momentum if asked for")
        .fields(optimizer::sgd_fields());
    to.optimizer("rmsprop", Rule::rmsprop)
        .about("RMSprop (Tieleman & Hinton 2012); `eps` stands inside of the root, unlike PyTorch's")
        .fields(optimizer::rmsprop_fields());
}

fn schedules(to: &mut Additions<'_>) {
    to.schedule("constant", |_| rate::Constant).about("Rates stay as they are, after the warm-up if there is one");
    to.schedule("step", rate::Steps::new)
        .about("Rates are multiplied with `gamma` every so many iterations")
        .fields(rate::Steps::fields())
        .detail("factor = gamma^floor(t / every)\n");
    to.schedule("exponential", rate::Exponential::new)
        .about("Rates fall by the same ratio each iteration")
        .fields(rate::Exponential::fields())
        .detail("factor = end^(t / T), with T the planned iterations\n");
    to.schedule("cosine", rate::Cosine::new)
        .about("Rates fall along half a cosine")
        .source("Loshchilov & Hutter 2017, arXiv 1608.03983; PyTorch's CosineAnnealingLR with T_max = T")
        .fields(rate::Cosine::fields())
        .detail("factor = end + (1 - end) (1 + cos(pi t / T)) / 2, with T the planned iterations\n");
    to.schedule("one_cycle", rate::OneCycle::new)
        .about("Rates rise along half a cosine to what `lr` says, and then fall far below where they began")
        .source("Smith & Topin 2019, arXiv 1708.07120; PyTorch's OneCycleLR, whose momentum is not followed")
        .fields(rate::OneCycle::fields())
        .detail("from `start` to 1 in the first `rise` of the planned iterations, then to `end` at the last\n");
    to.schedule("plateau", rate::Plateau::new)
        .about("Rates are multiplied with `gamma` when a loss has not become lower for a while")
        .fields(rate::Plateau::fields());
}

fn initialisers(to: &mut Additions<'_>) {
    let any = Range::ANY;
    let low_high = Type::Pair(Pair { names: ["low", "high"], ranges: [any; 2], ordered: true });
    let mean_sd = Type::Pair(Pair { names: ["mean", "sd"], ranges: [any, Range::NOT_NEGATIVE], ordered: false });
    to.initialiser("uniform", |args, _| {
        let (low, high) = args.pair("uniform");
        Arc::new(init::Uniform(low, high))
    })
    .about("Uniform distribution")
    .fields(vec![Field::required("uniform", low_high, "drawn uniformly from [low, high)")]);
    to.initialiser("normal", |args, _| {
        let (mean, sd) = args.pair("normal");
        Arc::new(init::Normal(mean, sd))
    })
    .about("Normal distribution")
    .meaning(OWN_FUNCTIONS)
    .fields(vec![Field::required("normal", mean_sd, "drawn from a normal distribution, [mean, sd]")]);
    to.initialiser("constant", |args, _| Arc::new(init::Constant(args.number("constant"))))
        .about("One number everywhere")
        .fields(vec![Field::required("constant", Type::Number(any), "this number")]);
    to.initialiser("torch_linear", |_, bias| Arc::new(init::TorchLinear { bias }))
        .about("Uniform within 1 / sqrt(inputs), as PyTorch's Linear begins");
}

fn samplers(to: &mut Additions<'_>) {
    to.sampler("grid", |_| sampler::Grid).about("Every combination of all values, the last dimension fastest");
    to.sampler("random", |args| sampler::Random { seed: args.seed().unwrap_or(0) })
        .about("Values drawn independently and evenly, each configuration at most once")
        .fields(vec![Field::default("seed", SEED, Value::Int(0), "which configurations are drawn")]);
}

fn pruners(to: &mut Additions<'_>) {
    let seeds = Type::Int { min: 1, max: 100_000 };
    to.pruner("race", |args| pruner::Race { min: args.whole("min") })
        .about("Compares configurations on ever more common seeds and drops those that are significantly worse than the best")
        .source("Maron & Moore 1997, Artificial Intelligence Review 11, 193-225")
        .fields(vec![Field::default("min", seeds, Value::Int(5), "seeds at the first comparison, if they can decide anything")])
        .detail(pruner::DETAIL);
}
