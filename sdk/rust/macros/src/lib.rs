//! The attribute `#[midplane_sdk::module]`.
//!
//! It leaves the function as it is and adds what the kernel looks for in the artifact: the descriptor, in a section of its
//! own, and the entry symbol.

use proc_macro::TokenStream;
use proc_macro2::Span;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Error, Expr, ExprArray, ExprLit, Ident, ItemFn, Lit, LitInt, LitStr, Result, Token,
    parse_macro_input,
};

/// The one grant that is no module to call, as `midplane_abi::grant` has it.
const SECRETS: &str = "secrets";
/// Before the name of a module to call.
const CALL: &str = "call:";
/// Whichever modules the operator names.
const ANY: &str = "*";
/// The length of each of the descriptor's fields that are lists (`midplane_abi::DescriptorBody`).
const LIST_LEN_MAX: usize = 256;
/// The longest name of a module: it stands in paths, thread names and log lines.
const NAME_LEN_MAX: usize = 32;

/// Makes a module of an async function that takes a `midplane_sdk::Context` and returns a `midplane_sdk::Result` of a tower
/// service, an `axum::Router` first of all.
///
/// - `name = "chat"`: required; what the module is called: lower-case letters, digits, `-` and `_`, 32 at most.
/// - `grants = ["secrets", "call:store"]`: what it asks the operator for: the secret of the session that a request acts for, and
///   to call other modules; `call:*` stands for whichever modules the operator names.
/// - `public = ["/feed", "/assets/*"]`: routes that need no session, effective where the operator allows it.
/// - `internal = ["/rows/*"]`: routes for other modules, which clients do not reach; modules reach no others.
/// - `exclusive`: only one generation at a time, for a module that owns what two cannot share, such as a database file: see the
///   SDK's page, "State".
/// - `state = 2` or `state = 1..=2`: the schemas of handed-over state that it reads; it writes the last
///   (`Context::on_save`).
///
/// The version is that of the crate.
#[proc_macro_attribute]
pub fn module(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attribute as Arguments);
    let function = parse_macro_input!(item as ItemFn);
    expand(&arguments, &function)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(arguments: &Arguments, function: &ItemFn) -> Result<proc_macro2::TokenStream> {
    if function.sig.asyncness.is_none() || function.sig.inputs.len() != 1 {
        return Err(Error::new(
            function.sig.span(),
            "a module is `async fn name(ctx: midplane_sdk::Context) -> midplane_sdk::Result<…>`",
        ));
    }
    let ident = &function.sig.ident;
    let name = &arguments.name;
    let public = arguments.public.join("\n");
    let (schema_min, schema_max) = arguments.state;
    let internal = arguments.internal.join("\n");
    let calls: Vec<&str> = arguments.calls().collect();
    let calls = calls.join("\n");
    let secrets = arguments.grants.iter().any(|grant| grant == SECRETS);
    let grants = secrets.then(|| Ident::new("SECRETS", Span::call_site()));
    let grants = grants.iter();
    let exclusive = arguments.exclusive;
    let flags = exclusive.then(|| Ident::new("EXCLUSIVE", Span::call_site()));
    let flags = flags.iter();
    Ok(quote! {
        #function

        const _: () = {
            use ::midplane_sdk::__private as private;
            use private::abi;

            #[used]
            #[allow(unsafe_code, reason = "the kernel finds the descriptor by its section")]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__midplane"))]
            #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".note.midplane"))]
            static DESCRIPTOR: abi::Descriptor = abi::Descriptor::new(#name, env!("CARGO_PKG_VERSION"))
                .grants(0 #(| abi::grant::#grants)*)
                .flags(0 #(| abi::flag::#flags)*)
                .public_routes(#public)
                .internal_routes(#internal)
                .calls(#calls)
                .state_schemas(#schema_min, #schema_max)
                .written_with(private::SDK, private::COMPILER);

            #[allow(unsafe_code, reason = "the one symbol that the kernel calls")]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn midplane_module_entry(host: *const abi::Host, out: *mut abi::Module) -> abi::Status {
                // SAFETY: the kernel's pointers, handed on.
                unsafe { private::entry(host, out, init) }
            }

            #[allow(unsafe_code, reason = "called by the kernel, through the table")]
            unsafe extern "C" fn init(given: *const abi::Init, out: *mut abi::Instance) -> abi::Status {
                // SAFETY: the kernel's pointers, handed on.
                unsafe { private::init(given, out, private::Attribute { schema: #schema_max, exclusive: #exclusive }, #ident) }
            }
        };
    })
}

#[derive(Default)]
struct Arguments {
    name: String,
    grants: Vec<String>,
    public: Vec<String>,
    internal: Vec<String>,
    exclusive: bool,
    /// First and last schema; 0 and 0: none.
    state: (u32, u32),
}

impl Arguments {
    /// The modules that it wants to call.
    fn calls(&self) -> impl Iterator<Item = &str> {
        self.grants
            .iter()
            .filter_map(|grant| grant.strip_prefix(CALL))
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            if key != "exclusive" {
                input.parse::<Token![=]>()?;
            }
            match key.to_string().as_str() {
                "name" => arguments.name = name(&input.parse()?)?,
                "grants" => arguments.grants = texts(&input.parse()?, grant)?,
                "public" => arguments.public = texts(&input.parse()?, pattern)?,
                "internal" => arguments.internal = texts(&input.parse()?, pattern)?,
                "state" => arguments.state = schemas(input)?,
                "exclusive" => arguments.exclusive = true,
                _ => {
                    return Err(Error::new(
                        key.span(),
                        "expected `name`, `grants`, `public`, `internal`, `state` or `exclusive`",
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        if arguments.name.is_empty() {
            return Err(input
                .error("say what the module is called: `#[midplane_sdk::module(name = \"…\")]`"));
        }
        if arguments.exclusive && arguments.state != (0, 0) {
            return Err(input.error(
                "an `exclusive` module hands no `state` over: it keeps its state in what it owns",
            ));
        }
        for (routes, which) in [
            (&arguments.public, "public"),
            (&arguments.internal, "internal"),
        ] {
            if routes.join("\n").len() > LIST_LEN_MAX {
                return Err(input.error(format!(
                    "the {which} routes are longer than 256 bytes together: use prefixes like `/assets/*`"
                )));
            }
        }
        if let Some(both) = arguments
            .public
            .iter()
            .find(|route| arguments.internal.contains(route))
        {
            return Err(input.error(format!("{both} cannot be both public and internal")));
        }
        if arguments.calls().map(|name| name.len() + 1).sum::<usize>() > LIST_LEN_MAX {
            return Err(
                input.error("the names of the modules to call are longer than 256 bytes together")
            );
        }
        Ok(arguments)
    }
}

fn name(literal: &LitStr) -> Result<String> {
    check_name(literal.value(), literal)
}

fn check_name(name: String, literal: &LitStr) -> Result<String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let fits = name.len() <= NAME_LEN_MAX;
    if !starts_well
        || !fits
        || !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    {
        return Err(Error::new(
            literal.span(),
            "a module's name starts with a letter and has lower-case letters, digits, `-` and `_` only, 32 at most",
        ));
    }
    Ok(name)
}

fn grant(literal: &LitStr) -> Result<String> {
    let grant = literal.value();
    if grant == SECRETS {
        return Ok(grant);
    }
    if let Some(module) = grant.strip_prefix(CALL) {
        if module != ANY {
            check_name(module.to_owned(), literal)?;
        }
        return Ok(grant);
    }
    Err(Error::new(
        literal.span(),
        "no such grant; there are: secrets, call:<module>, call:*",
    ))
}

/// `2`, or `1..=2`.
fn schemas(input: ParseStream<'_>) -> Result<(u32, u32)> {
    let first: LitInt = input.parse()?;
    let last = if input.peek(Token![..=]) {
        input.parse::<Token![..=]>()?;
        input.parse()?
    } else {
        first.clone()
    };
    let (min, max) = (first.base10_parse()?, last.base10_parse()?);
    if min == 0 || min > max {
        return Err(Error::new(
            first.span(),
            "schemas are counted from 1: `state = 2`, or `state = 1..=2` from the oldest that is read to the one that is written",
        ));
    }
    Ok((min, max))
}

fn pattern(literal: &LitStr) -> Result<String> {
    let pattern = literal.value();
    let star = pattern.find('*');
    if pattern.starts_with('/')
        && star.is_none_or(|at| at + 1 == pattern.len() && pattern.ends_with("/*"))
    {
        return Ok(pattern);
    }
    Err(Error::new(
        literal.span(),
        "a route is a path like `/feed` or a prefix like `/assets/*`",
    ))
}

fn texts(array: &ExprArray, check: impl Fn(&LitStr) -> Result<String>) -> Result<Vec<String>> {
    let elements: &Punctuated<Expr, Token![,]> = &array.elems;
    elements
        .iter()
        .map(|element| match element {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => check(text),
            other => Err(Error::new(other.span(), "expected a string")),
        })
        .collect()
}
