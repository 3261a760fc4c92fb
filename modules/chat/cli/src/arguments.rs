//! The command line: what may be said on it.
//!
//! What it comes to is `task`'s.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};

const TO_DO_INSTEAD: &str = "Instead of a conversation";
const OUTPUT: &str = "Output";
const KERNEL: &str = "Kernel";

const AFTER_HELP: &str = "\
What is piped in is said behind the words (cat log.txt | midplane chat \"what went wrong?\"), or attached with --attach -.
Answers are shown as markdown on a terminal, and as they are where they go to a file or a program.

Exit status: 0 answered, 1 refused or failed, 64 wrong usage, 69 no kernel, 130 stopped by Ctrl-C.";

/// A conversation in the terminal.
///
/// With words, or with something piped in, says them and prints the answer. Without, asks for them until Ctrl-D.
#[derive(Debug, Parser)]
#[command(
    name = "midplane-chat",
    bin_name = "midplane chat",
    version,
    after_help = AFTER_HELP,
    group = ArgGroup::new("instead").args(["list", "show", "delete", "models"]),
)]
pub(crate) struct Arguments {
    /// Go on with this thread; `last` is the newest
    #[arg(long, short, value_name = "ID")]
    pub(crate) thread: Option<String>,

    /// Go on with the newest thread
    #[arg(long = "continue", short, conflicts_with = "thread")]
    pub(crate) continues: bool,

    /// Ask this model, of those that the chat module is configured with
    #[arg(long, short, value_name = "NAME")]
    pub(crate) model: Option<String>,

    /// Tell the model this, in place of the configured instructions; with @, a file's text
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) instructions: Option<String>,

    /// Send a file with the message; - is what is piped in. May be given several times
    #[arg(long, short, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,

    /// List the threads, newest first
    #[arg(long, short, help_heading = TO_DO_INSTEAD)]
    pub(crate) list: bool,

    /// List this many at most
    #[arg(long, value_name = "N", requires = "list", help_heading = TO_DO_INSTEAD)]
    pub(crate) limit: Option<usize>,

    /// Print what was said in the thread that --thread or --continue names
    #[arg(long, help_heading = TO_DO_INSTEAD)]
    pub(crate) show: bool,

    /// Delete this thread
    #[arg(long, value_name = "ID", help_heading = TO_DO_INSTEAD)]
    pub(crate) delete: Option<String>,

    /// List the models that the provider has
    #[arg(long, help_heading = TO_DO_INSTEAD)]
    pub(crate) models: bool,

    /// Print JSON, one object a line: the turn's ChatKit events, or what is listed or shown
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,

    /// Print answers as the model wrote them, on a terminal too
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) plain: bool,

    /// Where the kernel listens [default: $MIDPLANE_SOCKET, else the usual place]
    #[arg(long, value_name = "PATH", help_heading = KERNEL)]
    pub(crate) socket: Option<PathBuf>,

    /// Where the host key is [default: $MIDPLANE_HOST_KEY, else host.key beside the socket]
    #[arg(long, value_name = "FILE", help_heading = KERNEL)]
    pub(crate) host_key_file: Option<PathBuf>,

    /// Which of the kernel's secrets is the API key to answer with
    #[arg(long, value_name = "ID", env = "MIDPLANE_SECRET_KEY_ID", help_heading = KERNEL)]
    pub(crate) secret_key_id: Option<String>,

    /// What to say; options go before it
    #[arg(
        value_name = "WORDS",
        trailing_var_arg = true,
        conflicts_with = "instead"
    )]
    pub(crate) words: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_end_where_the_words_begin() {
        let parsed = |line| parse(line).map(|found| (found.words.join(" "), found.json));
        assert_eq!(
            parsed("midplane-chat --json what does ls -l --json do").expect("valid"),
            ("what does ls -l --json do".to_owned(), true)
        );
        assert_eq!(
            parsed("midplane-chat -- --json").expect("valid"),
            ("--json".to_owned(), false)
        );
        assert!(parse("midplane-chat --sokcet x").is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "midplane-chat --list --models",
            "midplane-chat --list words",
            "midplane-chat --limit 3",
            "midplane-chat --show --delete thr_1",
            "midplane-chat --thread thr_1 --continue",
            "midplane-chat --limit x --list",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "midplane-chat -c -m large -a one -a two words",
            "midplane-chat --list --limit 3 --json",
            "midplane-chat --show --thread last",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
