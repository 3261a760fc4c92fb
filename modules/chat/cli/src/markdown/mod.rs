//! Markdown on a terminal, shown while it comes.
//!
//! | file | concern |
//! |---|---|
//! | `stream` | what is written when more text has come |
//! | `settle` | which lines can be written for good |
//! | `layout`, `literal` | markdown as lines; what of it is shown as written |
//! | `frame` | where lines stand: lists, quotes, empty lines |
//! | `code`, `table`, `wrap` | the lines of a block of code, a table, a paragraph |
//! | `style` | a line: its styles, width and escape sequences |

mod code;
mod frame;
mod layout;
mod literal;
mod settle;
mod stream;
mod style;
mod table;
mod wrap;

pub(crate) use stream::Stream;
