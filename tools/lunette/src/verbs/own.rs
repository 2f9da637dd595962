//! `lunette self`: what this command is, and where it has its images from.

use serde_json::json;

use super::images;
use crate::{cli::Format, image, problem::Problem, run::Us};

pub fn own(format: Format, us: &Us) -> Result<u8, Problem> {
    let version = env!("CARGO_PKG_VERSION");
    let present = image::present(None, us.executable.as_deref());
    let pulled = images::store(&[]).map(|store| store.all()).transpose()?.unwrap_or_default();
    let keys: Vec<_> = images::ours().iter().map(|key| key.number().to_string()).collect();
    if format.json() {
        let images: Vec<_> = present.iter().flatten().map(|image| &image.path).collect();
        let pulled: Vec<_> = pulled.iter().map(|it| &it.folder).collect();
        super::print_json(&json!({
            "version": version, "executable": us.executable, "images": images, "pulled": pulled,
            "cache": us.cache.dir(), "releases": images::from(), "keys": keys
        }))?;
        return Ok(0);
    }
    let none = || "none".to_owned();
    let path = us.executable.as_ref().map_or_else(none, |path| path.display().to_string());
    let mut text = format!("lunette {version}  {path}\n");
    match present {
        Ok(images) => {
            for image in images {
                text +=
                    &format!("image    {}: {image}\n", image.path.parent().unwrap_or(&image.path).display());
            }
        }
        Err(problem) => text += &format!("images   {problem}\n"),
    }
    for it in pulled {
        text += &format!("pulled   {}  {} bytes  {}\n", it.version, it.size, it.folder.display());
    }
    text += &format!("cache    {}\n", us.cache.dir().map_or_else(none, |dir| dir.display().to_string()));
    text += &format!(
        "releases {}, by keys: {}\n",
        images::from().unwrap_or_else(none),
        match keys.as_slice() {
            [] => none(),
            keys => keys.join(", "),
        }
    );
    super::print(&text)?;
    Ok(0)
}
