//! The configuration in effect, as a file that means the same.

use super::Config;
use super::setting::{Kind, SETTINGS};
use super::unit::{show_size, show_time};

/// Every setting with its value, section by section.
pub(super) fn to_toml(config: &Config) -> String {
    let mut file = String::new();
    let mut last_section = "";
    for setting in SETTINGS.iter().filter(|setting| setting.is_in(config)) {
        let value = match &setting.kind {
            Kind::Number { get, .. } => get(config).to_string(),
            Kind::Size { get, .. } => quoted(&show_size(get(config))),
            Kind::Time { get, .. } => quoted(&show_time(get(config))),
            Kind::Text { get, .. } => match get(config) {
                Some(text) => quoted(text),
                None => continue,
            },
            Kind::List { get, .. } => {
                let items: Vec<String> = get(config).iter().map(|text| quoted(text)).collect();
                format!("[{}]", items.join(", "))
            }
            Kind::Choice { get, words, .. } => quoted(words[get(config)]),
        };
        let (section, name) = setting.section();
        if section != last_section {
            file.push_str(&format!("\n[{section}]\n"));
            last_section = section;
        }
        file.push_str(&format!("{name} = {value}\n"));
    }
    file
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
