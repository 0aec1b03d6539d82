//! Networks with run-time sizes on dfdx tensors: layers, their parameters by name, and how these begin.

pub mod fused;
pub mod graph;
pub mod init;
pub mod layer;
pub mod linear;
pub mod network;
pub mod neurons;
pub mod probe;

pub use init::Initialiser;
pub use layer::{AnyLayer, Inputs, Layer, LayerPlan, ParameterPlan, Recipe};
pub use network::{Network, NetworkPlan, Parameter};
