//! The result folder: tables (Parquet), weights (safetensors), the manifest.

pub mod manifest;
