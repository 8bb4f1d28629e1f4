//! Templates come from other people: what they may do is bounded, and what fails is an error.

use plw_data::{ChatTemplate, PromptSettings, PromptTemplate, Question, TemplateError};

fn render(source: &str) -> Result<String, String> {
    ChatTemplate::from_jinja(source, [("eos_token", "</s>")], None)
        .and_then(|template| template.render_prompt("c"))
        .map_err(|error| error.to_string())
}

/// Templates that take too much time or memory, and a part of the error.
#[rustfmt::skip]
const WITHOUT_BOUND: [(&str, &str); 24] = [
    ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "work"),
    ("{{ messages | tojson(indent=9999999999999) }}", "is more than 100"),
    ("{{ 'a' | indent(9999999999999) }}", "work"),
    ("{{ ('a\n' * 1000000) | indent(1000) }}", "work"),
    ("{{ [1] | slice(9999999999999) | list }}", "work"),
    ("{{ [1] | batch(9999999999999, 2) | list }}", "work"),
    ("{{ '%999999999s' | format('a') }}", "work"),
    ("{{ '%.999999999f' | format(1.0) }}", "work"),
    ("{{ '{:>999999999}'.format('a') }}", "work"),
    ("{{ '{:.999999999f}'.format(1.0) }}", "work"),
    ("{{ '{0}{0}{0}{0}{0}{0}{0}{0}'.format('a' * 30000000) }}", "work"),
    ("{{ ('a' * 1000000).replace('', 'b' * 1000000) }}", "work"),
    ("{{ ('a' * 1000000) | replace('', 'b' * 1000000) }}", "work"),
    ("{{ ('b' * 1000000).join(range(100000)) }}", "work"),
    ("{{ range(100000) | join('b' * 1000000) }}", "work"),
    ("{{ 'a' * 9999999999 }}", "work"),
    ("{{ range(100000000) | list }}", "too many elements"),
    ("{% set n = namespace(t='a') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
     "work"),
    ("{% set n = namespace() %}{% set n.a = n %}{{ n }}", "cannot hold a namespace"),
    ("{% set n = namespace() %}{% set m = [n] %}{% set n.a = {'m': m} %}", "hold a namespace"),
    ("{% set n = namespace(a=1) %}{% for i in range(99999) %}{% set n.a = [n.a] %}{% endfor %}",
     "nested more than 64 deep"),
    ("{{ 'a' * 9000000 }}", "9000000 bytes, and at most 8388608"),
    ("{{ [['a' * 8000000] * 100] | tojson }}", "more than 8388608 bytes"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion limit"),
];

#[test]
fn templates_without_bound_are_errors() {
    let wrong = WITHOUT_BOUND.map(|(source, expected)| {
        let error = render(source).expect_err(source);
        (!error.contains(expected)).then(|| format!("{source}: {error}"))
    });
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn templates_that_cannot_be_parsed_are_errors() {
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
    let long = "a".repeat(200_000);
    for source in [
        "{%}",
        "{%",
        "a{%}b%}",
        "{%%}",
        "{% generation %}",
        "{% endgeneration %}",
        "{{",
        "{{ 'a",
        "{% for %}",
        "{% if x %}",
        &nested,
        &long,
    ] {
        let error = render(source).expect_err("no template");
        assert!(error.contains("the chat template fails"), "{error}");
    }
}

/// Each assignment is shallow, and together they would not be.
#[test]
fn values_that_are_nested_step_by_step_are_errors() {
    let nested = format!("{{% set x = {}x{} %}}", "[".repeat(40), "]".repeat(40));
    let once = format!("{{% set x = 1 %}}{nested}{{{{ x | length }}}}");
    assert_eq!(render(&once).as_deref(), Ok("1"));
    let error = render(&format!("{{% set x = 1 %}}{nested}{nested}")).expect_err("80 deep");
    assert!(error.contains("nested more than 64 deep"), "{error}");
}

/// The parser goes one call deeper for each operator.
#[test]
fn long_expressions_are_parsed() {
    let sum = format!("{{{{ 1{} }}}}", "+1".repeat(60_000));
    assert_eq!(render(&sum).as_deref(), Ok("60001"));
    let negations = format!("{{{{ {}1 }}}}", "not ".repeat(30_000));
    assert_eq!(render(&negations).as_deref(), Ok("True"));
    let filters = format!("{{{{ 'a'{} }}}}", "|upper".repeat(20_000));
    assert_eq!(render(&filters).as_deref(), Ok("A"));
}

/// Operators whose behavior minijinja lets no one change.
const NOT_AS_IN_JINJA2: [&str; 3] = ["x[1:]", "x < 1", "x > 'a'"];

/// The fixture is made by `xtask/fixtures/prompts.py` with transformers.
#[test]
fn undefined_variables_are_as_in_jinja2() {
    let cases: Vec<(String, Option<String>)> =
        serde_json::from_str(include_str!("fixtures/undefined.json")).expect("the fixture is JSON");
    assert!(cases.len() > 60);
    for (expression, expected) in cases {
        let found = render(&format!("{{{{ {expression} }}}}"));
        let is_alike = found.as_ref().ok() == expected.as_ref();
        let is_expected = !NOT_AS_IN_JINJA2.contains(&expression.as_str());
        assert_eq!(
            is_alike, is_expected,
            "{expression}: {found:?}, not {expected:?}"
        );
    }
}

#[test]
fn a_prompt_that_grows_too_long_is_an_error() {
    let settings = PromptSettings {
        prompt_template: Some(PromptTemplate::parse(&"{article}".repeat(100)).expect("a template")),
        ..PromptSettings::default()
    };
    let mut example = Question {
        file: "made-up.parquet".into(),
        row: 0,
        example_id: "middle1.txt".into(),
        level: "middle".into(),
        article: Some("a".repeat(80_000)),
        question: "?".into(),
        options: vec!["yes".into(), "no".into()],
        answer: 0,
        columns: Default::default(),
    };
    assert_eq!(
        settings.prompt(&example).map(|prompt| prompt.len()),
        Ok(8_000_000)
    );
    example.article = Some("a".repeat(85_000));
    assert_eq!(settings.prompt(&example), Err(TemplateError::TooLong));
}
