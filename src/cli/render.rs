//! Diagnostics as text, the way rustc writes them. Colours steer a terminal; nothing that came from a file does.

use crate::spec::diagnostic::{Diagnostic, Diagnostics};
use crate::spec::shown::shown;
use crate::spec::source::{Sources, Span};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use std::io::IsTerminal;

/// Diagnostics that are shown at most.
const MOST: usize = 50;

/// All of them, with a closing line that counts them.
pub fn diagnostics(found: &Diagnostics, sources: &Sources) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let mut list: Vec<&Diagnostic> = found.list.iter().collect();
    list.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
    list.dedup_by_key(|diagnostic| (diagnostic.span, diagnostic.problem.to_string()));
    let total = list.len();
    let shown: Vec<String> = list.into_iter().take(MOST).map(|d| one(d, sources, &renderer)).collect();
    let closing = match total {
        1 => "error: 1 problem; nothing was run\n".to_string(),
        n if n > MOST => format!("error: {n} problems, of which {MOST} are shown; nothing was run\n"),
        n => format!("error: {n} problems; nothing was run\n"),
    };
    format!("{}\n\n{closing}", shown.join("\n\n"))
}

fn one(diagnostic: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let title = brief(diagnostic.problem.to_string());
    let title = shown(&title);
    let mut group = match diagnostic.span {
        None => annotate_snippets::Group::with_title(Level::ERROR.primary_title(title.as_ref())),
        Some(span) => {
            let mut own =
                snippet(span, sources).annotation(place(span, &diagnostic.label, AnnotationKind::Primary, sources));
            let mut other = None;
            if let Some((also, label)) = diagnostic.also.as_deref() {
                let annotation = place(*also, label, AnnotationKind::Context, sources);
                if also.source == span.source {
                    own = own.annotation(annotation);
                } else {
                    other = Some(snippet(*also, sources).annotation(annotation));
                }
            }
            let group = Level::ERROR.primary_title(title.as_ref()).element(own);
            match other {
                Some(other) => group.element(other),
                None => group,
            }
        }
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(shown(&brief(help.clone())).into_owned()));
    }
    renderer.render(&[group])
}

/// Characters of a message that are shown.
const LONGEST: usize = 4000;

/// A message without what nobody would read of it: names of strangers have any length.
fn brief(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text += " ...";
    }
    text
}

fn snippet(span: Span, sources: &Sources) -> Snippet<'_, Annotation<'_>> {
    let source = sources.get(span);
    // The renderer shows other controls itself; these are replaced by one of as many bytes, so that places stay right.
    let text = source.text.replace(|c| matches!(c, '\u{80}'..='\u{9f}'), "\u{bf}");
    Snippet::source(text).path(shown(&source.name)).line_start(1)
}

fn place<'a>(span: Span, label: &'a str, kind: AnnotationKind, sources: &'a Sources) -> Annotation<'a> {
    let range = underlined(span, &sources.get(span).text);
    let annotation = kind.span(range);
    if label.is_empty() { annotation } else { annotation.label(shown(label)) }
}

/// What is underlined: of a span over many lines the first line; whole characters, never past the end of the text.
fn underlined(span: Span, text: &str) -> std::ops::Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    let line = text.get(start..end).and_then(|part| part.find('\n')).map_or(end, |newline| start + newline);
    start..line
}
