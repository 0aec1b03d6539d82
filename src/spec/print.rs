//! A checked document as TOML again, and in the canonical form that digests are taken of.

use super::tree::{Entry, Node, Stands, Table, Value};
use std::fmt::Write;

/// Whether formulas or their results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormulaStyle {
    /// As they were written.
    Kept,
    /// As numbers and text.
    Computed,
}

/// Prints a document as TOML: values first, then tables, then lists of tables such as `[[layer]]`.
pub fn toml(document: &Table, formulas: FormulaStyle) -> String {
    let mut out = String::new();
    for entry in document.entries.iter().filter(|e| !is_section(&e.node)) {
        out += &format!("{} = {}\n", key(&entry.key), inline(&entry.node, formulas));
    }
    for entry in document.entries.iter().filter(|e| is_section(&e.node)) {
        match &entry.node.value {
            Value::Table(table) => section(&format!("[{}]", key(&entry.key)), table, formulas, &mut out),
            Value::Array(items) => items.iter().filter_map(Node::as_table).for_each(|table| {
                section(&format!("[[{}]]", key(&entry.key)), table, formulas, &mut out);
            }),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
    out
}

/// A value as TOML, in one line; a formula as it was written.
pub fn value_toml(node: &Node) -> String {
    inline(node, FormulaStyle::Kept)
}

/// A document in one line with sorted keys and computed values: equal exactly where the meaning is equal.
pub fn canonical(table: &Table) -> String {
    let mut out = String::new();
    write_canonical(table, &mut out);
    out
}

fn write_canonical(table: &Table, out: &mut String) {
    let mut entries: Vec<&Entry> = table.entries.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    out.push('{');
    for (i, entry) in entries.into_iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_key(&entry.key, out);
        out.push_str(" = ");
        write_canonical_node(&entry.node, out);
    }
    out.push('}');
}

fn write_canonical_node(node: &Node, out: &mut String) {
    match &node.value {
        Value::Table(table) => write_canonical(table, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_canonical_node(item, out);
            }
            out.push(']');
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => write_plain(&node.value, out),
    }
}

fn is_section(node: &Node) -> bool {
    match &node.value {
        Value::Table(_) => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(|item| item.as_table().is_some()),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => false,
    }
}

fn section(header: &str, table: &Table, formulas: FormulaStyle, out: &mut String) {
    if table.entries.is_empty() {
        return;
    }
    *out += &format!("\n{header}\n");
    for entry in printed(table, formulas) {
        *out += &format!("{} = {}\n", key(&entry.key), inline(&entry.node, formulas));
    }
}

/// Takes away what nobody wrote from every table that names a component: another `kind` may have other defaults.
pub fn without_defaults(table: &mut Table) {
    if table.get("kind").is_some() {
        table.entries.retain(|entry| entry.stands != Stands::Default);
    }
    for entry in &mut table.entries {
        match &mut entry.node.value {
            Value::Table(inner) => without_defaults(inner),
            Value::Array(items) => items.iter_mut().for_each(|item| {
                if let Value::Table(inner) = &mut item.value {
                    without_defaults(inner);
                }
            }),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

/// Takes away what nobody wrote of how parameters are held: a distribution that is laid over a number is drawn for each
/// neuron, where a number is one a layer.
pub fn without_default_per(table: &mut Table) {
    table.entries.retain(|entry| entry.key != "per" || entry.stands != Stands::Default);
    for entry in &mut table.entries {
        match &mut entry.node.value {
            Value::Table(inner) => without_default_per(inner),
            Value::Array(items) => items.iter_mut().for_each(|item| {
                if let Value::Table(inner) = &mut item.value {
                    without_default_per(inner);
                }
            }),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

/// The entries that stand for a table. Where a formula is kept that names a component, its defaults stay away: another
/// one may have other keys.
fn printed(table: &Table, formulas: FormulaStyle) -> impl Iterator<Item = &Entry> {
    let varied = formulas == FormulaStyle::Kept && table.get("kind").is_some_and(|kind| kind.formula.is_some());
    table.entries.iter().filter(move |entry| !(varied && entry.stands == Stands::Default))
}

fn inline(node: &Node, formulas: FormulaStyle) -> String {
    if let (Some(formula), FormulaStyle::Kept) = (&node.formula, formulas) {
        return quoted(formula);
    }
    match &node.value {
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            let mut out = String::new();
            write_plain(&node.value, &mut out);
            out
        }
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(|item| inline(item, formulas)).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Table(table) => {
            let entry = |e: &Entry| format!("{} = {}", key(&e.key), inline(&e.node, formulas));
            let parts: Vec<String> = printed(table, formulas).map(entry).collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

/// A value that holds no others.
fn write_plain(value: &Value, out: &mut String) {
    // Writing to a string does not fail.
    let _ = match value {
        Value::Bool(b) => write!(out, "{b}"),
        Value::Int(i) => write!(out, "{i}"),
        Value::Float(f) => write!(out, "{f:?}"),
        Value::Text(text) => {
            write_quoted(text, out);
            Ok(())
        }
        Value::Array(_) | Value::Table(_) => Ok(()),
    };
}

fn key(text: &str) -> String {
    let mut out = String::new();
    write_key(text, &mut out);
    out
}

fn write_key(text: &str, out: &mut String) {
    let bare = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { out.push_str(text) } else { write_quoted(text, out) }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_quoted(text, &mut out);
    out
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}
