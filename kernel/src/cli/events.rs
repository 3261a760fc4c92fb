//! `midplane events`: what happens, one line each, until the kernel or the person ends it.

use serde_json::Value;

use super::arguments::ClientArgs;
use super::{Failure, Output};

pub(super) async fn run(args: &ClientArgs) -> Result<(), Failure> {
    let mut output = Output::of(args);
    let mut events = args.host()?.events().await?;
    while let Some(event) = events.next().await {
        let event = event?;
        let line = if output.json() {
            event.data
        } else {
            readable(&event.data)
        };
        output.text(&format!("{line}\n"))?;
    }
    Ok(())
}

/// `module.swapped module=hello from=1 to=2`
pub(super) fn readable(data: &str) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str(data) else {
        return data.to_owned();
    };
    let mut line = match members.remove("type") {
        Some(Value::String(kind)) => kind,
        _ => "event".to_owned(),
    };
    for (name, value) in &members {
        let value = match value {
            Value::String(text) if !text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                text.clone()
            }
            other => other.to_string(),
        };
        line += &format!(" {name}={value}");
    }
    line
}
