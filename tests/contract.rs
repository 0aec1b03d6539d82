//! The contract of components: what is built in keeps it, and what breaks it is found.

use runner::data::{Data, DataError, DataShape, Dataset};
use runner::keys;
use runner::nn::init::Constant;
use runner::nn::layer::{Inputs, Layer, LayerPlan, Memoryless, Recipe};
use runner::random::Draws;
use runner::registry::{Additions, Crate, Registry};
use runner::search::sampler::{Point, Sampler};
use runner::spec::component::Kind;
use runner::spec::held::{ParameterKeys, parameter};
use runner::spec::source::Sources;
use runner::spec::sweep::{LAYING, Sweep};
use runner::spec::{Component, read_text};
use runner::study::{Executor, Plan};
use runner::tensor::{Backend, DeviceName};
use runner::testing::Suite;
use runner::train::loss::{self, DirectLoss};
use runner::train::metric::Compared;
use runner::train::optimizer::{Rule, Step, UpdateRule};
use runner::train::rate::{Moment, RateSchedule};
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn built_in_components_keep_the_contract() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/data");
    let table = format!("path = '{data}/diabetes.csv'\ninputs = ['bmi', 'bp']\ntargets = ['progression']\nsteps = 3");
    let series =
        format!("path = '{data}/sunspots_monthly.csv'\ninputs = ['sunspots']\ntargets = ['sunspots']\nwindow = 4");
    let suite = Suite::new(&[]).given(Kind::Dataset, "table", &table).given(Kind::Dataset, "series", &series);
    let said: Vec<String> = suite.breaches().iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:#?}");
}

/// Gives a channel too many, and counts up.
struct Unruly(AtomicU32);

impl Dataset for Unruly {
    fn shape(&self) -> DataShape {
        DataShape { steps: 3, samples: 1, inputs: vec!["x".into()], targets: vec!["y".into()] }
    }

    fn draw(&self, _: &mut dyn Draws) -> Result<Data, DataError> {
        let drawn = self.0.fetch_add(1, Ordering::Relaxed) as f32;
        Ok(Data::new(3, 1, vec![drawn; 6], vec![f32::NAN; 3]))
    }
}

/// Turns the rows of its input round, steps and samples, past the tape.
struct Backwards;

impl Recipe for Backwards {
    fn plan(&self, inputs: &Inputs) -> LayerPlan {
        LayerPlan::new(inputs.width(), inputs.width(), "current")
    }

    fn on<D: Backend>(&self) -> Box<dyn Layer<D>> {
        Memoryless::boxed("current", |_, input, recorder| {
            let turned = input.to_vec().chunks(input.width()).rev().flatten().copied().collect();
            recorder.matrix(turned, (input.rows(), input.width()))
        })
    }
}

struct Uphill;

impl UpdateRule for Uphill {
    fn update(&self, _: Step, values: &mut [f32], gradients: &[f32], _: [&mut [f32]; 3]) {
        values.iter_mut().zip(gradients).for_each(|(value, gradient)| *value += 0.1 * gradient.signum());
    }
}

struct Restless(AtomicU32);

impl RateSchedule for Restless {
    fn factor(&self, _: Moment<'_>) -> f64 {
        1.0 - f64::from(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct Stubborn;

impl Sampler for Stubborn {
    fn points(&self, sweep: &Sweep) -> Result<Vec<Point>, runner::spec::diagnostic::Diagnostic> {
        let at = sweep.span;
        let point = vec![runner::spec::tree::Node::new(runner::spec::tree::Value::Int(7), at); 2];
        Ok(vec![point; 5])
    }
}

keys! {
    /// A default that is out of range.
    struct Unchecked {
        /// learning rate
        lr: f64 = number(Range::POSITIVE).or(0.0),
    }
}

/// [`loss::Mse`] that forgets its weight.
struct Forgets;

impl DirectLoss for Forgets {
    fn add(&self, pair: loss::Scored<'_>, _: f32, gradient: Option<&mut [f32]>) -> f32 {
        loss::Mse.add(pair, 1.0, gradient)
    }
}

fn upside_down(compared: Compared<'_>) -> f64 {
    -runner::train::metric::mse(compared)
}

fn register(to: &mut Additions<'_>) {
    to.dataset("unruly", |()| Unruly(AtomicU32::new(0))).about("Counts up");
    to.layer("backwards", |(), _| Backwards).about("Turns time round");
    to.loss("forgetful", |()| loss::Mse).about("Forgets its weight").direct(|()| Forgets);
    to.metric("upside_down", |()| upside_down).about("Lower for a larger error");
    to.metric("silent", |()| |_: Compared<'_>| 0.0);
    to.optimizer("uphill", |()| Rule::own(0.1, Uphill)).about("Goes uphill");
    to.schedule("restless", |()| Restless(AtomicU32::new(0))).about("Says something else each time, also below 0");
    to.sampler("stubborn", |()| Stubborn).about("One point outside of every space");
    to.optimizer("unchecked", |keys: Unchecked| Rule::own(keys.lr, Uphill)).about("Its default is no learning rate");
}

#[test]
fn what_breaks_the_contract_is_found() {
    let breaches = Suite::new(&[Crate { name: "bad", version: "1", register }]).breaches();
    let said: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// A layer whose keys name an initialiser, which has this version of meaning.
fn naming(to: &mut Additions<'_>, meaning: u32) {
    to.initialiser("mine", |(), _| Constant { constant: 0.5 }).about("A half").meaning(meaning);
    to.layer("backwards", |_: Naming, _| Backwards).about("Turns time round");
}

keys! {
    /// Keys that name initialisers in every way.
    struct Naming {
        /// a component
        weights: Option<Component> = component(Kind::Initialiser).optional(),
        /// a list of them
        several: Option<Vec<Component>> = list(component(Kind::Initialiser)).optional(),
        /// a table with one
        table: Option<Inner> = table::<Inner>().optional(),
        /// a parameter
        gain: Option<ParameterKeys> = parameter().optional(),
    }
}

keys! {
    /// A table with an initialiser.
    struct Inner {
        /// inside of a table
        init: Option<Component> = component(Kind::Initialiser).optional(),
    }
}

/// The id of the first trial with two lines in the only hidden layer.
fn id_of(register: fn(&mut Additions<'_>), layer: &str) -> String {
    let mut sources = Sources::default();
    let crates = [Crate { name: "own", version: "1", register }];
    let registry = Registry::with(&crates, &mut sources).unwrap_or_else(|found| panic!("{:?}", found.list));
    let text = format!(
        "name = 'ids'\n[data]\nkind = 'sqrt'\nsteps = 4\n[[layer]]\nname = 'odd'\n{layer}\n[[layer]]\nname = 'out'\n\
         kind = 'linear'\nsize = 1\n[optimizer]\nkind = 'adam'\n[train]\niterations = 1\nloss = 'mse'\n[run]\nseeds = [0]"
    );
    let spec = read_text("ids.toml", &text, LAYING, &registry, &mut sources);
    let plan = spec.and_then(|spec| Plan::new(spec, &registry, &sources, Executor::Reference, DeviceName::Cpu));
    plan.unwrap_or_else(|found| panic!("{layer}: {:?}", found.list)).trials[0].id.clone()
}

#[test]
fn every_component_that_a_key_names_counts_for_identity() {
    for layer in [
        "kind = 'backwards'\nweights = 'mine'",
        "kind = 'backwards'\nseveral = ['torch_linear', 'mine']",
        "kind = 'backwards'\ntable = { init = 'mine' }",
        "kind = 'linear'\nsize = 2\ninit = 'mine'",
        "kind = 'rleaky'\nsize = 2\nrecurrent_init = 'mine'",
        "kind = 'slstm'\nsize = 2\nrecurrent_init = 'mine'",
    ] {
        let second = id_of(|to| naming(to, 2), layer);
        assert_eq!(id_of(|to| naming(to, 2), layer), second, "{layer}");
        assert_ne!(id_of(|to| naming(to, 3), layer), second, "{layer}");
    }
    // What is not named does not count.
    let other = "kind = 'linear'\nsize = 2";
    assert_eq!(id_of(|to| naming(to, 2), other), id_of(|to| naming(to, 3), other));
}

#[test]
#[should_panic(expected = "`mse` is registered already")]
fn two_components_of_one_name_are_a_mistake_of_the_program() {
    let register = |to: &mut Additions<'_>| {
        to.loss("mse", |()| loss::Mse);
    };
    Suite::new(&[Crate { name: "bad", version: "1", register }]);
}
