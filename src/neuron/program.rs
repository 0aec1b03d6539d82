//! A neuron model with its options chosen: checked equations in the order of their needs.

use super::model::{Model, ParamDecl, ProjectionDecl};
use crate::formula::{self, Expr, Function, Name};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::source::{Place, Span};
use std::collections::{HashMap, HashSet};

/// What an executor runs: one time step as a list of assignments, and what goes in and out.
#[derive(Debug, Clone, PartialEq)]
pub struct StepProgram {
    /// Inputs, in the model's order.
    pub inputs: Vec<String>,
    /// States with their value before the first step; each is assigned in `body`.
    pub states: Vec<(String, f64)>,
    /// Signals with the assigned name that gives each.
    pub outputs: Vec<(String, String)>,
    /// Parameters.
    pub params: Vec<ParamDecl>,
    /// Projections of states of the step before, computed before the assignments.
    pub projections: Vec<Projection>,
    /// Assignments, each after those it needs. `prev.NAME` is a state of the step before.
    pub body: Vec<(String, Expr)>,
    /// Derivative that stands in for that of `spike`, over `x`.
    pub surrogate: Expr,
}

/// A projection with its kind chosen: `to = W prev.STATE + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Its name; parameters are `NAME.weight` (`[len(to) * neurons, neurons]`, or `[neurons]`) and `NAME.bias`.
    pub name: String,
    /// The state that it reads, of the step before.
    pub from: String,
    /// The names that it gives values to.
    pub to: Vec<String>,
    /// Whether every neuron reads every other, or only itself.
    pub dense: bool,
    /// Whether it has a bias.
    pub bias: bool,
}

/// An assignment with its place.
struct Assignment<'a> {
    name: &'a str,
    name_at: Span,
    expr: &'a Expr,
    at: Place,
}

/// The state of the step before that a name means, if it begins with `prev.`.
pub fn previous(name: &str) -> Option<&str> {
    name.strip_prefix("prev.")
}

impl StepProgram {
    /// Whether equations choose between branches. Then the gradient of what was not taken has to be kept at 0, whatever the
    /// derivative behind it.
    pub fn chooses(&self) -> bool {
        let branches = |expr: &Expr| [Function::Where, Function::Min, Function::Max].iter().any(|f| expr.is_call(*f));
        self.body.iter().any(|(_, expr)| expr.count(&branches) > 0)
    }

    /// Assigned names that gradients flow back to, from the states and from the signals that are `graded`.
    pub fn taught(&self, graded: &dyn Fn(&str) -> bool) -> HashSet<&str> {
        let signals = self.outputs.iter().filter(|(signal, _)| graded(signal)).map(|(_, name)| name);
        let mut taught: HashSet<&str> = self.states.iter().map(|(name, _)| name).chain(signals).map(|n| &**n).collect();
        // Each stands after those that it needs.
        for (name, expr) in self.body.iter().rev() {
            if taught.contains(name.as_str()) {
                taught.extend(expr.taught().into_iter().map(|name| name.text.as_str()));
            }
        }
        taught
    }

    /// Chooses options (`(option, value)`; the first value of those not named) and a surrogate over `x`.
    /// A model whose every choice passed `check` gives a program for each.
    pub fn new(model: &Model, choices: &[(String, String)], surrogate: Expr) -> StepProgram {
        let assignments = assignments(model, choices);
        let (mut order, _) = order(&assignments);
        let needed = needed(model, &assignments);
        order.retain(|i| needed.contains(i));
        StepProgram {
            inputs: model.inputs.clone(),
            states: model.states.clone(),
            outputs: model.outputs.clone(),
            params: model.params.clone(),
            projections: model.projections.iter().map(|projection| chosen(projection, choices)).collect(),
            body: order.into_iter().map(|i| (assignments[i].name.into(), assignments[i].expr.clone())).collect(),
            surrogate,
        }
    }
}

fn chosen(projection: &ProjectionDecl, choices: &[(String, String)]) -> Projection {
    let kind = choices.iter().find(|(name, _)| *name == projection.name).map(|(_, kind)| kind);
    let dense = kind.or(projection.kinds.first()).is_some_and(|kind| kind == "dense");
    Projection {
        name: projection.name.clone(),
        from: projection.from.clone(),
        to: projection.to.clone(),
        dense,
        bias: projection.bias && dense,
    }
}

/// Checks a model under every combination of its options.
pub fn check(model: &Model, found: &mut Diagnostics) {
    let mut seen = Vec::new();
    let mut report = |diagnostic: Diagnostic, found: &mut Diagnostics| {
        // A mistake outside of the options shows under each of their values.
        let told = (diagnostic.span, diagnostic.problem.to_string());
        if !seen.contains(&told) {
            seen.push(told);
            found.push(diagnostic);
        }
    };
    for choices in combinations(model) {
        check_choice(model, &choices, &mut |d| report(d, found));
    }
}

/// Every combination of options, the defaults first.
fn combinations(model: &Model) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for option in &model.options {
        let with = |choices: &Vec<(String, String)>| {
            let choice =
                |(value, _): &(String, _)| [choices.as_slice(), &[(option.name.clone(), value.clone())]].concat();
            option.values.iter().map(choice).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

fn assignments<'a>(model: &'a Model, choices: &[(String, String)]) -> Vec<Assignment<'a>> {
    let mut list: Vec<Assignment<'a>> = Vec::new();
    for equation in &model.equations {
        let at = model.equations_at;
        let name_at = at.part(equation.name.span.clone());
        list.push(Assignment { name: &equation.name.text, name_at, expr: &equation.expr, at });
    }
    for option in &model.options {
        let chosen = choices.iter().find(|(name, _)| *name == option.name).map(|(_, value)| value);
        let value = option.values.iter().find(|(value, _)| Some(value) == chosen).or(option.values.first());
        for definition in value.map(|(_, definitions)| definitions.as_slice()).unwrap_or_default() {
            list.push(Assignment {
                name: &definition.name,
                name_at: definition.at.span,
                expr: &definition.expr,
                at: definition.at,
            });
        }
    }
    list
}

fn check_choice(model: &Model, choices: &[(String, String)], report: &mut dyn FnMut(Diagnostic)) {
    let assignments = assignments(model, choices);
    let assigned = |name: &str| assignments.iter().any(|a| a.name == name);
    let given: Vec<&str> =
        model.inputs.iter().chain(model.params.iter().map(|p| &p.name)).map(String::as_str).collect();
    let projected = model.projections.iter().flat_map(|projection| &projection.to).map(String::as_str);
    let given: Vec<&str> = given.into_iter().chain(projected).collect();
    for projection in model.projections.iter().filter(|p| !model.states.iter().any(|(state, _)| *state == p.from)) {
        let problem = Problem::UnknownName { what: "state".into(), name: projection.from.clone() };
        report(Diagnostic::new(problem, projection.at).label("a projection reads one of `states`"));
    }
    for (i, assignment) in assignments.iter().enumerate() {
        let twice = assignments[..i].iter().find(|other| other.name == assignment.name);
        if let Some(first) = twice {
            let problem = Problem::Duplicate { what: "assignment of".into(), name: assignment.name.into() };
            report(Diagnostic::new(problem, assignment.name_at).also(first.name_at, "first here"));
        } else if given.contains(&assignment.name) {
            let text = format!("`{}` is given from outside and cannot be assigned", assignment.name);
            report(Diagnostic::new(Problem::Conflict(text), assignment.name_at));
        }
        for name in assignment.expr.names() {
            check_name(name, assignment.at, &assignments, &given, model, report);
        }
        if assignment.expr.calls(Function::Surrogate) {
            let text = "`surrogate` is only the derivative of `spike`; equations say `spike(x)`";
            report(Diagnostic::new(Problem::Conflict(text.into()), assignment.name_at));
        }
    }
    for (name, at) in model.roots.iter().filter(|(name, _)| !assigned(name)) {
        let problem = Problem::UnknownName { what: "equation".into(), name: name.clone() };
        let help = suggest(name, assignments.iter().map(|a| a.name).collect::<Vec<_>>(), "");
        report(Diagnostic::new(problem, *at).label("states and outputs name equations of `step`").help(help));
    }
    if let (_, Some(stuck)) = order(&assignments) {
        let names: Vec<String> = stuck.iter().map(|&i| format!("`{}`", assignments[i].name)).collect();
        let text = format!("these equations need each other in a circle: {}", names.join(", "));
        let help = "a value of the step before is `prev.NAME`".to_string();
        report(Diagnostic::new(Problem::Conflict(text), assignments[stuck[0]].name_at).help(help));
    }
}

fn check_name(
    name: &Name,
    at: Place,
    assignments: &[Assignment<'_>],
    given: &[&str],
    model: &Model,
    report: &mut dyn FnMut(Diagnostic),
) {
    let at = at.part(name.span.clone());
    let unknown = |what: &str| Problem::UnknownName { what: what.into(), name: name.text.clone() };
    match previous(&name.text) {
        Some(state) if !model.states.iter().any(|(known, _)| known == state) => {
            let names: Vec<String> = model.states.iter().map(|(name, _)| format!("prev.{name}")).collect();
            let help = suggest(&name.text, names.iter().map(String::as_str), "only `states` are carried on");
            report(Diagnostic::new(unknown("state"), at).help(help));
        }
        Some(_) => {}
        None => {
            let known: Vec<&str> = assignments.iter().map(|a| a.name).chain(given.iter().copied()).collect();
            if !known.contains(&name.text.as_str()) && formula::constant(&name.text).is_none() {
                let help = suggest(&name.text, known, "");
                report(Diagnostic::new(unknown("name"), at).help(help));
            }
        }
    }
}

/// Indices of what states and outputs need; a reset that does nothing leaves equations without use.
fn needed(model: &Model, assignments: &[Assignment<'_>]) -> Vec<usize> {
    let find = |name: &str| assignments.iter().position(|a| a.name == name);
    let mut open: Vec<usize> = model.roots.iter().filter_map(|(name, _)| find(name)).collect();
    let mut needed = Vec::new();
    while let Some(i) = open.pop() {
        if !needed.contains(&i) {
            needed.push(i);
            open.extend(assignments[i].expr.names().iter().filter_map(|name| find(&name.text)));
        }
    }
    needed
}

/// Indices in the order of needs, and those that no order fits.
fn order(assignments: &[Assignment<'_>]) -> (Vec<usize>, Option<Vec<usize>>) {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    assignments.iter().enumerate().for_each(|(i, assignment)| by_name.entry(assignment.name).or_default().push(i));
    let needs = |assignment: &Assignment<'_>| -> Vec<usize> {
        let names = assignment.expr.names();
        names.iter().flat_map(|name| by_name.get(name.text.as_str()).into_iter().flatten().copied()).collect()
    };
    let needs: Vec<Vec<usize>> = assignments.iter().map(needs).collect();
    let mut is_done = vec![false; assignments.len()];
    let mut done: Vec<usize> = Vec::new();
    loop {
        let free = |i: &usize| !is_done[*i] && needs[*i].iter().all(|j| is_done[*j]);
        let ready: Vec<usize> = (0..assignments.len()).filter(free).collect();
        if ready.is_empty() {
            break;
        }
        ready.iter().for_each(|i| is_done[*i] = true);
        done.extend(ready);
    }
    let stuck: Vec<usize> = (0..assignments.len()).filter(|i| !is_done[*i]).collect();
    (done, (!stuck.is_empty()).then_some(stuck))
}
