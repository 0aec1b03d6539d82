//! The components that every binary carries.

use super::Registry;
use super::additions::Additions;
use crate::data::file::FileTables;
use crate::data::series::SeriesDataset;
use crate::data::table::TableDataset;
use crate::nn::{init, linear};
use crate::search::{pruner, sampler};
use crate::spec::component::{OWN_FUNCTIONS, Origin};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::source::Sources;
use crate::train::optimizer::Rule;
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
        to.layer("linear", linear::Linear::new)
            .about("Dense layer without neurons: y = x W^T + b at every step")
            .source("PyTorch, torch.nn.Linear")
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
    to.loss("mse", |()| loss::Mse)
        .about("Mean squared error over steps, samples and channels")
        .unit("target^2")
        .direct(|()| loss::Mse);
    to.loss("l1", |()| loss::L1)
        .about("Mean absolute error over steps, samples and channels")
        .unit("target")
        .direct(|()| loss::L1);
    to.loss("huber", |keys: loss::Huber| keys)
        .about("Half the squared error, and a line from `delta` on, so that single large errors count less")
        .source("Huber 1964, Annals of Mathematical Statistics 35(1), 73-101; PyTorch's HuberLoss")
        .detail("mean of c (e - c / 2), c being the error e clamped to `delta` either way\n")
        .unit("target^2")
        .direct(|keys: loss::Huber| keys);
}

fn metrics(to: &mut Additions<'_>) {
    to.metric("mse", |()| metric::mse).about("Mean squared error over steps, samples and channels").unit("target^2");
    to.metric("rmse", |()| metric::rmse)
        .about("Root of the mean squared error over steps, samples and channels")
        .unit("target");
    to.metric("l1", |()| metric::l1).about("Mean absolute error over steps, samples and channels").unit("target");
    to.metric("relative_error", |()| metric::relative_error).about(
        "Mean over the steps after the first of |error| / |target|, Euclidean over channels (snnTorch's tutorial)",
    );
    to.metric("nmse", |()| metric::nmse)
        .about("Mean squared error / variance of the target; 1 is what the target's mean gives");
    to.metric("r2", |()| metric::r2)
        .about("Coefficient of determination: 1 is perfect, 0 is what the target's mean gives")
        .higher_is_better();
}

/// Datasets that are read from files, which configurations share.
fn files(to: &mut Additions<'_>) {
    let tables = Arc::new(FileTables::default());
    let shared = tables.clone();
    to.dataset_of_files("table", move |keys, reading| TableDataset::read(keys, reading, &shared))
        .about("Rows of a CSV, Parquet or NPY file: each is a sample, held for some steps")
        .meaning(2)
        .detail("columns of an NPY file are called `0`, `1`, ...\n");
    to.dataset_of_files("series", move |keys, reading| SeriesDataset::read(keys, reading, &tables))
        .about(
            "Rows of a CSV, Parquet or NPY file over time: sequences that a column names, or windows over one record",
        )
        .meaning(2)
        .detail(
            "windows: the last step counts in losses and metrics; sequences: every step, shorter ones are padded\n",
        );
}

fn optimizers(to: &mut Additions<'_>) {
    to.optimizer("adam", Rule::adam).about("Adam (Kingma & Ba 2015, arXiv 1412.6980); weight decay as an L2 term");
    to.optimizer("adamw", Rule::adamw)
        .about("Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101)");
    to.optimizer("sgd", Rule::sgd).about("Stochastic gradient descent, with momentum if asked for");
    to.optimizer("rmsprop", Rule::rmsprop)
        .about("RMSprop (Tieleman & Hinton 2012); `eps` stands inside of the root, unlike PyTorch's");
}

fn schedules(to: &mut Additions<'_>) {
    to.schedule("constant", |()| rate::Steady).about("Rates stay as they are, after the warm-up if there is one");
    to.schedule("step", |keys: rate::Stepwise| keys)
        .about("Rates are multiplied with `gamma` every so many iterations")
        .detail("factor = gamma^floor(t / every)\n");
    to.schedule("exponential", |keys: rate::Exponential| keys)
        .about("Rates fall by the same ratio each iteration")
        .detail("factor = end^(t / T), with T the planned iterations\n");
    to.schedule("cosine", |keys: rate::Cosine| keys)
        .about("Rates fall along half a cosine")
        .source("Loshchilov & Hutter 2017, arXiv 1608.03983; PyTorch's CosineAnnealingLR with T_max = T")
        .detail("factor = end + (1 - end) (1 + cos(pi t / T)) / 2, with T the planned iterations\n");
    to.schedule("one_cycle", |keys: rate::OneCycle| keys)
        .about("Rates rise along half a cosine to what `lr` says, and then fall far below where they began")
        .source("Smith & Topin 2019, arXiv 1708.07120; PyTorch's OneCycleLR, whose momentum is not followed")
        .detail("from `start` to 1 in the first `rise` of the planned iterations, then to `end` at the last\n");
    to.schedule("plateau", |keys: rate::Plateau| keys)
        .about("Rates are multiplied with `gamma` when a loss has not become lower for a while");
}

fn initialisers(to: &mut Additions<'_>) {
    to.initialiser("uniform", |keys: init::Uniform, _| keys).about("Uniform distribution");
    to.initialiser("normal", |keys: init::Normal, _| keys).about("Normal distribution").meaning(OWN_FUNCTIONS);
    to.initialiser("constant", |keys: init::Constant, _| keys).about("One number everywhere");
    to.initialiser("torch_linear", |(), bias| init::TorchLinear { bias })
        .about("Uniform within 1 / sqrt(inputs), as PyTorch's Linear begins");
}

fn samplers(to: &mut Additions<'_>) {
    to.sampler("grid", |()| sampler::Grid).about("Every combination of all values, the last dimension fastest");
    to.sampler("random", |keys: sampler::Random| keys)
        .about("Values drawn independently and evenly, each configuration at most once");
}

fn pruners(to: &mut Additions<'_>) {
    to.pruner("race", |keys: pruner::Race| keys)
        .about("Compares configurations on ever more common seeds and drops those that are significantly worse than the best")
        .source("Maron & Moore 1997, Artificial Intelligence Review 11, 193-225")
        .detail(pruner::DETAIL);
}
