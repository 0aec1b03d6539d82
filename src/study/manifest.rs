//! What a run says of itself in `manifest.json`.

use super::identity::{meanings, plugins};
use super::rule::SeedRule;
use super::{Measured, Plan, Schedule};
use crate::registry::Registry;
use crate::spec::source::text_of;
use crate::spec::{self, Save, Select};
use crate::store::manifest::{
    DataSummary, Environment, FORMAT, IdentityParts, LayerSummary, Manifest, Quantity, RankedBy, StudyStatus,
};
use crate::store::weighed::Weighed;
use crate::store::{self, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

/// Now, RFC 3339, UTC.
pub fn timestamp() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// What was asked for: the experiment file, and the words that ask for it once more.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The experiment file.
    pub file: &'a Path,
    /// The command.
    pub command: &'a str,
}

/// The manifest of a run that begins.
pub fn manifest(
    asked: Asked<'_>,
    plan: &Plan,
    registry: &Registry,
    store: &Store,
    schedule: &Schedule<'_>,
) -> Manifest {
    let Asked { file, command } = asked;
    let first = &plan.configurations.first;
    let layer = |layer: &crate::nn::LayerPlan| LayerSummary {
        name: layer.name.clone(),
        kind: layer.kind.clone(),
        inputs: layer.inputs,
        size: layer.size,
        output: layer.output.clone(),
        parameters: layer.parameters.iter().map(|p| (p.name.clone(), p.shape.clone())).collect(),
        threshold: store.earlier.as_ref().and_then(|old| old.layers.iter().find(|l| l.name == layer.name)?.threshold),
    };
    let metric = |measured: &Measured| {
        let Some(kind) = &measured.metric else {
            let about = "the loss of the validation part".into();
            return Quantity { name: measured.name(), about, ..loss_quantity(plan, registry) };
        };
        let entry = &registry.metrics[kind];
        Quantity {
            name: measured.name(),
            about: entry.info.about.clone(),
            unit: entry.build.unit.clone(),
            lower_is_better: entry.build.lower_is_better,
        }
    };
    let mut files: Vec<String> = store::FILES.iter().map(|name| name.to_string()).collect();
    files.extend(store.earlier.iter().flat_map(|old| old.files.iter().cloned()));
    files.sort();
    files.dedup();
    let quantities = plan.quantities();
    let validated = quantities.iter().any(|measured| measured.name() == "validation.loss");
    let mut manifest = Manifest {
        format: FORMAT,
        name: plan.spec.name.clone(),
        about: plan.spec.about.clone(),
        identity: plan.identity.clone(),
        request: plan.request.clone(),
        parts: parts(plan),
        experiment: text_of(&std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf())),
        spec: plan.stored_toml(file, registry),
        laying: spec::sweep::LAYING,
        plugins: plugins(&plan.configurations.used, registry),
        command: command.into(),
        swept: plan.swept.clone(),
        objective: RankedBy { name: plan.objective.name.clone(), maximize: plan.objective.maximize },
        sampling: if let SeedRule::Until(sampling, _) = &plan.rule { Some(sampling.clone()) } else { None },
        entrants: schedule.entrants(),
        race: schedule.race(),
        layers: first.network.layers.iter().map(layer).collect(),
        parameters: first.network.size(),
        data: DataSummary {
            kind: first.spec.data.component.kind.clone(),
            steps: first.data.steps,
            samples: first.data.samples,
            inputs: first.data.inputs.clone(),
            targets: first.data.targets.clone(),
            split: first.dataset.describe_split(),
            parts: first.dataset.parts().into_iter().map(|(part, n)| (part.as_str().to_string(), n)).collect(),
            selected: match first.spec.train.select {
                Select::Last => "the last".into(),
                Select::Best if validated => "those of the lowest validation loss".into(),
                Select::Best => "those of the lowest training loss".into(),
            },
        },
        loss: loss_quantity(plan, registry),
        metrics: quantities.iter().map(metric).collect(),
        // What is stored was made there, and stays so if this run is killed.
        environment: store.earlier.as_ref().map_or_else(environment_placeholder, |old| old.environment.clone()),
        started: store.earlier.as_ref().map_or_else(timestamp, |old| old.started.clone()),
        finished: None,
        status: StudyStatus::Running,
        planned: schedule.asked().count(),
        files,
        weights: store.earlier.as_ref().map_or(Vec::new(), |old| old.weights.clone()),
        rows: store.earlier.as_ref().map_or_else(BTreeMap::new, |old| old.rows.clone()),
    };
    if plan.spec.save != Save::None {
        let configs = plan.configurations.list.iter().map(|configuration| configuration.id.clone());
        manifest.weigh(Weighed::new(configs, plan.seeds()));
    }
    manifest
}

/// What ids were made from, for all configurations together.
fn parts(plan: &Plan) -> IdentityParts {
    IdentityParts {
        executor: plan.executor.as_str().into(),
        device: plan.device.as_str().into(),
        content: plan.content.clone(),
        components: meanings(&plan.configurations.used),
    }
}

/// Stands in the manifest until the run has ended; asking git and reading the binary take longer than small runs.
fn environment_placeholder() -> Environment {
    Environment {
        runner: env!("CARGO_PKG_VERSION").into(),
        binary: String::new(),
        platform: String::new(),
        instructions: String::new(),
        processor: String::new(),
        host: String::new(),
        device: String::new(),
        executor: String::new(),
        git_commit: None,
        git_dirty: None,
    }
}

fn loss_quantity(plan: &Plan, registry: &Registry) -> Quantity {
    match plan.spec.train.loss.as_slice() {
        [only] => {
            let entry = registry.loss(&only.loss.kind);
            let name = only.loss.kind.clone();
            // Inside, targets have the scale that was fitted; metrics are in their own units again.
            let scaled = plan.spec.data.component.args.text("scale").is_some_and(|scale| scale != "none");
            let unit = &entry.build.unit;
            let unit = if scaled { unit.replace("target", "scaled target") } else { unit.clone() };
            Quantity { name, about: entry.info.about.clone(), unit, lower_is_better: true }
        }
        several => {
            let part = |term: &spec::Term| format!("{} {}", term.common.weight, term.loss.kind);
            let name = several.iter().map(part).collect::<Vec<_>>().join(" + ");
            Quantity { about: "weighted sum of losses".into(), name, unit: "mixed".into(), lower_is_better: true }
        }
    }
}
