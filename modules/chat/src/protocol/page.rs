//! Pages of records, and what a caller says to get one.

use serde::{Deserialize, Serialize};

/// `DEFAULT_PAGE_SIZE` of `chatkit/server.py`.
pub(crate) const PAGE_SIZE_DEFAULT: usize = 20;
/// What the longest list of a client shows at once; a page is built in memory.
pub(crate) const PAGE_SIZE_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: bool,
    /// The cursor of the next page; the last record of this one. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn empty() -> Page<T> {
        Page {
            data: Vec::new(),
            has_more: false,
            after: None,
        }
    }

    /// Makes a page of what a scan found, which may be one record more than `limit`.
    pub(crate) fn of_scan(
        mut found: Vec<T>,
        limit: usize,
        cursor: impl Fn(&T) -> String,
    ) -> Page<T> {
        let has_more = found.len() > limit;
        found.truncate(limit);
        let after = found.last().filter(|_| has_more).map(cursor);
        Page {
            data: found,
            has_more,
            after,
        }
    }

    pub(crate) fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(change).collect(),
            has_more: self.has_more,
            after: self.after,
        }
    }

    pub(crate) fn retain(mut self, keep: impl FnMut(&T) -> bool) -> Page<T> {
        self.data.retain(keep);
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Asc,
    #[default]
    Desc,
}

/// Which records of an ordered list are wanted; `C` is the id the list is keyed by.
#[derive(Debug, Clone)]
pub(crate) struct Scan<C> {
    pub(crate) limit: usize,
    pub(crate) order: Order,
    /// Start behind this record, in `order`.
    pub(crate) after: Option<C>,
}

/// The members `limit`, `order` and `after` of a request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Paging<C> {
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    order: Order,
    #[serde(default = "Option::default")]
    after: Option<C>,
}

impl<C> Paging<C> {
    /// No limit, and zero, mean the default, as in the reference.
    pub(crate) fn scan(self) -> Scan<C> {
        let limit = match self.limit {
            None | Some(0) => PAGE_SIZE_DEFAULT,
            Some(limit) => usize::try_from(limit)
                .unwrap_or(PAGE_SIZE_MAX)
                .min(PAGE_SIZE_MAX),
        };
        Scan {
            limit,
            order: self.order,
            after: self.after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_more_follows() {
        let check = |found: &[u8], limit, data: &[u8], after: Option<&str>| {
            let page = Page::of_scan(found.to_vec(), limit, u8::to_string);
            assert_eq!(page.data, data);
            assert_eq!(page.has_more, after.is_some());
            assert_eq!(page.after.as_deref(), after);
        };
        check(&[], 2, &[], None);
        check(&[1, 2], 2, &[1, 2], None);
        check(&[1, 2, 3], 2, &[1, 2], Some("2"));
    }

    #[test]
    fn paging_has_the_reference_s_defaults_and_our_bound() {
        let check = |text: &str, limit, order| {
            let scan = serde_json::from_str::<Paging<String>>(text).unwrap().scan();
            assert_eq!((scan.limit, scan.order), (limit, order), "{text}");
        };
        check("{}", 20, Order::Desc);
        check(r#"{"limit":null,"order":"asc"}"#, 20, Order::Asc);
        check(r#"{"limit":0}"#, 20, Order::Desc);
        check(r#"{"limit":7,"after":"thr_1"}"#, 7, Order::Desc);
        check(r#"{"limit":4000000000}"#, 100, Order::Desc);
        assert!(serde_json::from_str::<Paging<String>>(r#"{"limit":-1}"#).is_err());
        assert!(serde_json::from_str::<Paging<String>>(r#"{"order":"up"}"#).is_err());
    }
}
