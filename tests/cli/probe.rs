//! `probe`: pictures of a neuron, and what it says of its firing.

use super::Sandbox;

#[test]
fn a_leaky_neuron_fires_where_its_fixed_point_is_above_the_threshold() {
    let sandbox = Sandbox::empty();
    // The fixed point of the membrane potential is current / (1 - beta); currents are a fortieth apart.
    for (beta, first) in [("beta=0.9", "0.125"), ("beta=0.5", "0.525"), ("beta=0", "1.025")] {
        let ran = sandbox.fine(["probe", "leaky", "--set", beta, "--out", "pictures"]);
        assert!(ran.stdout.starts_with(&format!("fires from a constant current of {first} on")), "{}", ran.stdout);
    }
    for picture in ["impulse", "step", "fi"] {
        let svg = std::fs::read_to_string(sandbox.path("pictures").join(format!("{picture}.svg"))).unwrap();
        assert!(svg.starts_with("<svg"), "{picture}");
    }
}

#[test]
fn every_neuron_can_be_probed_and_one_without_spikes_has_no_rates() {
    let sandbox = Sandbox::empty();
    for neuron in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/builtin/neurons")).unwrap() {
        let path = neuron.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let ran = sandbox.fine(["probe", name, "--out", name, "--steps", "20"]);
        assert!(ran.stdout.contains("fires") || ran.stdout.contains("does not spike"), "{}", ran.stdout);
        assert_eq!(sandbox.path(name).join("fi.svg").exists(), ran.stdout.contains("fires"), "{name}");
    }
}

#[test]
fn a_key_that_the_neuron_lacks_is_underlined_in_the_option() {
    let sandbox = Sandbox::empty();
    let ran = sandbox.runner(["probe", "leaky", "--set", "threshhold=2", "--out", "pictures"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
    assert!(!sandbox.path("pictures").exists());
}
