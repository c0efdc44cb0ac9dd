//! Which driver model the packages of a build name in their manifests.

use std::{collections::BTreeSet, path::Path};

use cargo_metadata::MetadataCommand;
use serde_json::Value;

use crate::{ConfigError, DriverConfig};

/// Reads the driver model from the manifests below `manifest` and asks Cargo to build anew when one of them changes.
///
/// A workspace names its model in `[workspace.metadata.wdk]` or in any of its packages; all that do must agree.
pub(crate) fn driver_model(manifest: &Path) -> Result<DriverConfig, ConfigError> {
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(vec!["--offline".to_string()])
        .exec()?;
    println!("cargo::rerun-if-changed={}", manifest.display());
    let mut models = BTreeSet::new();
    models.extend(model_of(&metadata.workspace_metadata));
    for package in &metadata.packages {
        if let Some(model) = model_of(&package.metadata) {
            println!("cargo::rerun-if-changed={}", package.manifest_path);
            models.insert(model);
        }
    }
    let mut models = models.into_iter();
    match (models.next(), models.next()) {
        (None, _) => Err(ConfigError::NoDriverModel),
        (Some(model), None) if model == "WDM" => Ok(DriverConfig::Wdm),
        (Some(model), None) => Err(ConfigError::UnsupportedDriverModel(model)),
        (Some(first), Some(second)) => Err(ConfigError::ConflictingDriverModels(format!(
            "{first}, {second}"
        ))),
    }
}

fn model_of(metadata: &Value) -> Option<String> {
    Some(
        metadata
            .get("wdk")?
            .get("driver-model")?
            .get("driver-type")?
            .as_str()?
            .to_string(),
    )
}
