//! The API below `/api/v1` and the web page, on a real store and through the real router.

#[path = "api/browser.rs"]
mod browser;
#[path = "api/contract.rs"]
mod contract;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/made.rs"]
mod made;
#[path = "api/page.rs"]
mod page;
#[path = "api/pictures.rs"]
mod pictures;
#[path = "api/run.rs"]
mod run;
#[path = "api/scene.rs"]
mod scene;
#[path = "api/settings.rs"]
mod settings;
#[path = "api/status.rs"]
mod status;
#[path = "api/v1.rs"]
mod v1;
