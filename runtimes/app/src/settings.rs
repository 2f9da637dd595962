//! What a machine's settings say of the app: arguments and variables, and nothing that it may do.

use std::fmt;

use lunette_bundle::Launch;

use crate::Refusal;

/// The first line of user-data that is meant for us.
const OURS: &str = "#lunette";

/// Makes one of user-data (with whose it is) and single variables, which win. What is worth a line is told to `log`, with names
/// and without values.
#[cold]
pub fn settings(
    user_data: Option<(&str, &str)>,
    env: &mut dyn Iterator<Item = (&str, &str)>,
    log: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<Launch, Refusal> {
    let mut launch = Launch::default();
    if let Some((text, source)) = user_data {
        if text.lines().next().is_some_and(|line| line.trim_end() == OURS) {
            launch = Launch::from_user_data(text).map_err(|error| Refusal(format!("{source}: {error}")))?;
            let names: Vec<_> = launch.env.iter().map(|(name, _)| &**name).collect();
            let args = launch.args.as_ref().map_or("as they were".into(), |args| args.len().to_string());
            log(format_args!(
                "user-data ({source}): arguments: {args}; variables: {}",
                names.join(" ").escape_debug()
            ));
        } else {
            log(format_args!(
                "user-data ({source}): not for Lunette, which reads what begins with a line `{OURS}`"
            ));
        }
    }
    for (name, value) in env {
        launch.set(name, value);
    }
    Ok(launch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(data: &str, env: &[(&str, &str)]) -> Result<(Launch, String), Refusal> {
        let mut log = String::new();
        let made =
            settings(Some((data, "disk")), &mut env.iter().copied(), &mut |line| log += &line.to_string())?;
        Ok((made, log))
    }

    #[test]
    fn user_data_and_variables_make_a_launch() {
        let (launch, log) =
            told("#lunette\r\nargs = [\"a\"]\n[env]\nA = \"1\"\nB = \"1\"\n", &[("B", "2"), ("C", "3")])
                .unwrap();
        assert_eq!(launch.args, Some(vec!["a".into()]));
        assert_eq!(launch.env, [("A", "1"), ("B", "2"), ("C", "3")].map(|(a, b)| (a.into(), b.into())));
        assert_eq!(log, "user-data (disk): arguments: 1; variables: A B");
        let (launch, log) = told("#lunette", &[]).unwrap();
        assert!(launch.is_empty() && log.contains("arguments: as they were; variables: "), "{log}");
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for text in ["", "#cloud-config\nargs = 1", "#lunettes\n", "\n#lunette\n", "#!/bin/sh\n"] {
            let (launch, log) = told(text, &[]).unwrap();
            assert!(launch.is_empty() && log.contains("not for Lunette"), "{text}: {log}");
        }
        assert!(told("#lunette\n[network]\n", &[]).unwrap_err().0.starts_with("disk: unknown key `network`"));
    }
}
