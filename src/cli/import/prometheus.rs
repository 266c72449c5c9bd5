//! Prometheus: the jobs of `prometheus.yml` that ask blackbox_exporter, with their static targets.

use serde_json::Value;

use super::{Imported, text_of};
use crate::blackbox::Modules;
use crate::config::yaml_value;

/// Interval of Prometheus where none is given.
const INTERVAL_DEFAULT: &str = "1m";

/// Reads a configuration. The modules are the standard ones: the file does not say what they ask.
///
/// # Errors
///
/// It is no YAML, or has no scrape configurations.
pub(super) fn read(text: &str) -> Result<Imported, String> {
    let file = yaml_value(text)?;
    let jobs = file["scrape_configs"].as_array().ok_or("has no list `scrape_configs:`")?;
    let mut imported = Imported::default();
    let global = text_of(&file["global"]["scrape_interval"]);
    let modules = Modules::standard();
    for job in jobs {
        let name = text_of(&job["job_name"]).unwrap_or_default();
        let module = text_of(&job["params"]["module"][0]);
        let probes = text_of(&job["metrics_path"]).is_some_and(|path| path.ends_with("/probe"));
        let Some(module) = module.filter(|_| probes) else {
            imported.note(&name, "left out: the job does not ask blackbox_exporter");
            continue;
        };
        let Some(known) = modules.get(&known_as(&module)) else {
            let told = format!("left out: what the module {module:?} asks is not in this file");
            imported.note(&name, told);
            continue;
        };
        if !["http_2xx", "tcp_connect", "icmp"].contains(&module.as_str()) {
            imported.note(&name, format!("module {module}: taken as {:?} here", known_as(&module)));
        }
        let interval = text_of(&job["scrape_interval"]).or(global.clone());
        let timeout = text_of(&job["scrape_timeout"]);
        for group in job["static_configs"].as_array().map_or(&[][..], Vec::as_slice) {
            let labels = group["labels"].as_object();
            let labels = labels.into_iter().flatten();
            let tag = |(key, value): (&String, &Value)| Some(format!("{key}:{}", text_of(value)?));
            let labels = labels.filter_map(tag);
            let tags: Vec<String> = std::iter::once(name.clone()).chain(labels).collect();
            for target in group["targets"].as_array().map_or(&[][..], Vec::as_slice) {
                let target = text_of(target).unwrap_or_default();
                // The deadline is set below, as the job has it.
                let Ok(mut row) = known.row_for(&target, None, 1_000) else { continue };
                row.interval = interval.clone().or(Some(INTERVAL_DEFAULT.to_owned()));
                (row.timeout, row.keep_detail) = (timeout.clone(), None);
                row.tags = Some(tags.clone());
                imported.rows.push(row);
            }
        }
        discovered(&mut imported, &name, job);
    }
    Ok(imported)
}

/// Common names of modules that say what they ask.
fn known_as(module: &str) -> String {
    let starts = [("http_post", "http_post_2xx"), ("http", "http_2xx"), ("icmp", "icmp")];
    let starts = starts.into_iter().chain([("ping", "icmp"), ("tcp", "tcp_connect")]);
    let more = [("ssl", "tls_connect"), ("tls", "tls_connect")];
    let mut starts = starts.chain(more);
    let found = starts.find(|(start, _)| module.starts_with(start));
    found.map_or(module, |(_, known)| known).to_owned()
}

fn discovered(imported: &mut Imported, name: &str, job: &Value) {
    let keys = job.as_object().into_iter().flat_map(|job| job.keys());
    for key in keys.filter(|key| key.ends_with("_sd_configs")) {
        imported.note(name, format!("{key}: targets that are discovered are not carried over"));
    }
}
