//! A neuron in words, for `runner show`: its equations, and the derivatives that the reverse pass is made of.

use super::model::{Definition, Model};
use crate::formula::Expr;

/// Equations, options, projections, signals and derivatives of a model; `step` is the text of its equations.
pub fn detail(step: &str, model: &Model) -> String {
    let mut detail = step.to_string();
    for option in &model.options {
        for (value, definitions) in &option.values {
            let parts: Vec<String> = definitions.iter().map(|d| format!("{} = {}", d.name, d.expr)).collect();
            detail += &format!("{} = \"{value}\": {}\n", option.name, parts.join(", "));
        }
    }
    for projection in &model.projections {
        let kinds = projection.kinds.join(" or ");
        detail += &format!("{} = {} projection of prev.{}\n", projection.to.join(", "), kinds, projection.from);
    }
    let signals: Vec<String> = model.outputs.iter().map(|(signal, name)| format!("{signal} ({name})")).collect();
    detail += &format!("signals: {}\n", signals.join(", "));
    detail + &gradient(model)
}

/// What each equation hands back to what it reads. By the chain rule, from the last step to the first, these give the
/// whole gradient.
fn gradient(model: &Model) -> String {
    let mut text = "\ngradient (derivatives of a step that are not 0)\n".to_string();
    for equation in &model.equations {
        text += &partials(&equation.name.text, &equation.expr, "");
    }
    for option in &model.options {
        for (value, definitions) in &option.values {
            let place = format!("   where {} = \"{value}\"", option.name);
            let of = |d: &Definition| partials(&d.name, &d.expr, &place);
            text += &definitions.iter().map(of).collect::<String>();
        }
    }
    text
}

/// The largest formula whose derivatives are shown: those of a product grow with the square of its factors.
const MAX_SHOWN: usize = 128;

fn partials(name: &str, expr: &Expr, place: &str) -> String {
    if expr.size() > MAX_SHOWN {
        return format!("  d {name}: too long to be shown{place}\n");
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut text = String::new();
    for read in expr.names() {
        let derivative = expr.derivative(&read.text);
        if seen.contains(&read.text.as_str()) || derivative == Expr::Number(0.0) {
            continue;
        }
        seen.push(&read.text);
        text += &format!("  d {name} / d {} = {derivative}{place}\n", read.text);
    }
    text
}
