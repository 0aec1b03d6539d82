//! Tests of the language from the outside: text in, text, values and errors out.

use super::*;
use proptest::prelude::*;

fn printed(text: &str) -> String {
    parse(text).unwrap().to_string()
}

fn wrong(text: &str) -> (String, Characters) {
    let error = parse(text).unwrap_err();
    (error.message, error.span)
}

#[test]
fn operators_bind_as_in_mathematics() {
    for (text, brackets) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("-2^2", -4.0),
        ("2^-1", 0.5),
        ("2^3^2", 512.0),
        ("8 - 4 - 2", 2.0),
        ("8 / 4 / 2", 1.0),
        ("-2 * -3", 6.0),
        ("1 + 1 == 2", 1.0),
        ("2 < 1", 0.0),
        ("where(2 > 1, 10, 20)", 10.0),
        ("heaviside(0) + spike(0.1) + sign(-3)", 0.0),
        ("2 * pi / pi", 2.0),
        ("min(3, max(1, 2))", 2.0),
    ] {
        assert_eq!(parse(text).unwrap().eval(&|_| None).unwrap(), brackets, "{text}");
    }
}

#[test]
fn printing_leaves_out_brackets_that_say_nothing() {
    assert_eq!(printed("((a) + (b * c))"), "a + b * c");
    assert_eq!(printed("a - (b - c)"), "a - (b - c)");
    assert_eq!(printed("(-a)^2"), "(-a)^2");
    assert_eq!(printed("-(a^2)"), "-a^2");
    assert_eq!(printed("1 / (1 + slope * abs(x))^2"), "1 / (1 + slope * abs(x))^2");
}

#[test]
fn errors_point_at_the_place() {
    assert_eq!(wrong("1 +"), ("expected a value after this".into(), 2..3));
    assert_eq!(wrong("(1 + 2"), ("this bracket is not closed".into(), 0..1));
    assert_eq!(wrong("1 + 2)"), ("this bracket closes none".into(), 5..6));
    assert_eq!(wrong("a $ b"), ("unexpected character `$`".into(), 2..3));
    assert_eq!(wrong("a b"), ("expected an operator before this".into(), 2..3));
    assert_eq!(wrong("min(1)"), ("`min` takes 2 arguments, not 1".into(), 0..6));
    assert_eq!(wrong("1 < 2 < 3"), ("comparisons cannot be chained".into(), 6..7));
    assert_eq!(wrong("* 2"), ("expected a value before `*`".into(), 0..1));
    assert_eq!(wrong("1.2.3"), ("expected an operator before this".into(), 3..5));
    assert_eq!(wrong(""), ("expected a value".into(), 0..0));
    let error = parse("2 * epx(1)").unwrap_err();
    assert_eq!((error.message.as_str(), error.span), ("unknown function `epx`", 4..7));
    assert_eq!(error.help.as_deref(), Some("did you mean `exp`?"));
    let unknown = parse("1 + missing").unwrap().eval(&|_| None).unwrap_err();
    assert_eq!((unknown.message.as_str(), unknown.span), ("unknown name `missing`", 4..11));
}

#[test]
fn a_bracket_that_the_next_equation_finds_open_is_reported_where_it_opens() {
    for text in ["a = b * (c + d\ne = f", "a = exp(c + d\ne = f", "a = max(c, d\n# so it is\n\ne = f * (g + 1)"] {
        let errors = parse_equations(text).unwrap_err();
        let opened = text.find('(').unwrap();
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(
            (errors[0].message.as_str(), &errors[0].span),
            ("this bracket is not closed", &(opened..opened + 1))
        );
    }
}

#[test]
fn equations_are_read_line_by_line_and_all_mistakes_are_reported() {
    let text = "# comment\na = 1 + (2 *\n 3)  # goes on\n\nb = a - prev.b\n";
    let equations = parse_equations(text).unwrap();
    let shown: Vec<String> = equations.iter().map(|e| format!("{} = {}", e.name.text, e.expr)).collect();
    assert_eq!(shown, ["a = 1 + 2 * 3", "b = a - prev.b"]);
    assert_eq!(&text[equations[1].name.span.clone()], "b");
    let errors = parse_equations("a = \nprev.b = 1\nexp = 2\nc + 1\nd = 2").unwrap_err();
    let messages: Vec<&str> = errors.iter().map(|e| e.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "expected a value",
            "`prev.b` cannot be assigned",
            "`exp` cannot be assigned",
            "expected an equation `name = formula`"
        ]
    );
}

#[test]
fn hostile_formulas_are_refused() {
    for text in [
        "(".repeat(10_000),
        "-".repeat(10_000) + "1",
        "x^".repeat(5_000) + "x",
        "exp(".repeat(3_000),
        "1+".repeat(8_000) + "1",
        "1".repeat(1 << 20),
        "a".repeat(20_000),
    ] {
        assert!(parse(&text).is_err(), "{}", &text[..20]);
    }
}

#[test]
fn conventions_of_spiking_networks_hold_in_derivatives() {
    let d = |text: &str| parse(text).unwrap().derivative("x").to_string();
    assert_eq!(d("spike(2 * x - 1)"), "surrogate(2 * x - 1) * 2");
    assert_eq!(d("detach(x) * x"), "detach(x)");
    assert_eq!(d("heaviside(x) + sign(x) + floor(x) + (x < 1)"), "0");
    assert_eq!(d("where(x > 0, x^2, a)"), "where(x > 0, 2 * x, 0)");
    assert_eq!(d("b * x + c"), "b");
}

fn expressions() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (0.0..1e3f64).prop_map(Expr::Number),
        (0u32..20).prop_map(|n| Expr::Number(f64::from(n))),
        (1e-12..1e-9f64).prop_map(Expr::Number),
        prop::sample::select(vec!["x", "y", "prev.mem", "pi", "_a1"]).prop_map(Expr::name),
    ];
    leaf.prop_recursive(6, 60, 3, |inner| {
        let ops = prop::sample::select(vec![
            BinaryOp::Add,
            BinaryOp::Sub,
            BinaryOp::Mul,
            BinaryOp::Div,
            BinaryOp::Pow,
            BinaryOp::Less,
            BinaryOp::LessEqual,
            BinaryOp::Greater,
            BinaryOp::GreaterEqual,
            BinaryOp::Equal,
            BinaryOp::NotEqual,
        ]);
        let functions = prop::sample::select(Function::ALL.to_vec());
        prop_oneof![
            inner.clone().prop_map(|e| Expr::Negate(Box::new(e))),
            (ops, inner.clone(), inner.clone()).prop_map(|(op, a, b)| Expr::Binary(op, Box::new(a), Box::new(b))),
            (functions, prop::collection::vec(inner, 3))
                .prop_map(|(f, arguments)| Expr::Call(f, arguments[..f.arity()].to_vec())),
        ]
    })
}

/// Expressions that are smooth and tame, so that differences are close to derivatives.
fn smooth() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (0.1..2.0f64).prop_map(Expr::Number),
        prop::sample::select(vec!["x", "x", "y"]).prop_map(Expr::name),
    ];
    leaf.prop_recursive(4, 20, 2, |inner| {
        let ops = prop::sample::select(vec![BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul]);
        let bounded = prop::sample::select(vec![Function::Tanh, Function::Sin, Function::Cos, Function::Sigmoid]);
        let positive = |e: Expr| build::add(Expr::Number(1.5), build::call(Function::Sin, e));
        prop_oneof![
            (ops, inner.clone(), inner.clone()).prop_map(|(op, a, b)| Expr::Binary(op, Box::new(a), Box::new(b))),
            (bounded, inner.clone()).prop_map(|(f, e)| build::call(f, e)),
            (inner.clone(), inner.clone()).prop_map(move |(a, b)| build::div(a, positive(b))),
            (inner.clone(), inner.clone())
                .prop_map(move |(a, b)| build::pow(positive(a), build::call(Function::Tanh, b))),
            inner.clone().prop_map(move |e| build::call(Function::Log, positive(e))),
            inner.clone().prop_map(move |e| build::call(Function::Sqrt, positive(e))),
            inner.prop_map(|e| build::call(Function::Exp, build::call(Function::Sin, e))),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_what_was_printed_gives_the_expression_back(expr in expressions()) {
        prop_assert_eq!(parse(&expr.to_string()).unwrap(), expr);
    }

    #[test]
    fn parsing_anything_ends_without_a_panic(text in "\\PC{0,60}") {
        let _ = parse(&text);
        let _ = parse_equations(&text);
    }

    // A C library would give some of these another last bit, and another library others.
    #[test]
    fn functions_are_those_of_the_binary_bit_for_bit(x in 1e-6..700.0f64, y in -30.0..30.0f64) {
        let at = |text: &str| {
            let value = |name: &str| Some(if name == "x" { x } else { y });
            parse(text).unwrap().eval(&value).unwrap().to_bits()
        };
        for (text, own) in [
            ("exp(y)", libm::exp(y)),
            ("log(x)", libm::log(x)),
            ("tanh(y)", libm::tanh(y)),
            ("sin(x)", libm::sin(x)),
            ("cos(x)", libm::cos(x)),
            ("sigmoid(y)", 1.0 / (1.0 + libm::exp(-y))),
            ("x ^ (y / 10)", libm::pow(x, y / 10.0)),
            ("x ^ 2", x * x),
        ] {
            prop_assert_eq!(at(text), own.to_bits(), "{}", text);
        }
    }

    #[test]
    fn derivatives_match_central_differences(expr in smooth(), x in -1.0..1.0f64, y in -1.0..1.0f64) {
        let at = |x: f64| expr.eval(&|name| Some(if name == "x" { x } else { y })).unwrap();
        let h = 1e-5;
        let difference = (at(x + h) - at(x - h)) / (2.0 * h);
        let exact = expr.derivative("x").eval(&|name| Some(if name == "x" { x } else { y })).unwrap();
        prop_assert!((difference - exact).abs() <= 1e-5 * (1.0 + exact.abs() + at(x).abs()), "{} {}", difference, exact);
    }
}
