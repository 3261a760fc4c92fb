//! Markdown on a terminal, shown while it comes.
//!
//! | file | concern |
//! |---|---|
//! | `stream` | what is written when more text has come |
//! | `settle` | which lines can be written for good |
//! | `layout` | markdown as lines |
//! | `table`, `wrap` | a table's lines, a paragraph's |
//! | `style` | a line: its styles, width and escape sequences |

mod layout;
mod settle;
mod stream;
mod style;
mod table;
mod wrap;

pub(crate) use stream::Stream;
