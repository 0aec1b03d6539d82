//! What this crate registers is held against what `runner` expects of its components.

#[test]
fn every_component_keeps_the_contract() {
    let breaches = runner::testing::Suite::new(&[example_crate::CRATE]).breaches();
    let said: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:#?}");
}
