//! `farccctl auth`: tokens, in the words of sccache-dist.

use serde_json::json;

use crate::cli::arguments::{AuthCheckOptions, TokenOptions};
use crate::cli::reach;
use crate::cli::{Failure, print};
use crate::engine::config::Part;
use crate::model::exit;
use crate::os::config::{Sources, generate_token_of, load_client};

pub(crate) fn generate_token(options: &TokenOptions) -> Result<u8, Failure> {
    if !options.bits.is_multiple_of(BITS_PER_BYTE) {
        return Err(Failure::new(exit::USAGE, "--bits: a token has whole bytes; give a multiple of 8"));
    }
    let token = generate_token_of((options.bits / BITS_PER_BYTE) as usize).map_err(Failure::with(exit::INTERNAL))?;
    match options.json {
        true => print(&format!("{}\n", json!({ "token": token.expose() }))),
        false => print(&format!("{}\n", token.expose())),
    }
}

/// sccache-dist signs a token for each of its servers. There is nothing here that would check one.
pub(crate) fn refuse_jwt() -> Failure {
    Failure::new(
        exit::NEGATIVE,
        "JSON web tokens are not supported: clients share one token and builders another; \
         `farccctl auth generate-shared-token` makes one, `farccctl farm invite` hands both on",
    )
}

/// What is left of `sccache --dist-auth` where nobody logs in: whether the scheduler takes the token that is configured.
pub(crate) fn check(options: &AuthCheckOptions) -> Result<u8, Failure> {
    let config = load_client(&Sources::here(None)).map_err(Failure::with(exit::CONFIGURATION))?.config;
    let upstream = config.scheduler.ok_or_else(|| {
        Failure::new(
            exit::CONFIGURATION,
            "no scheduler with a token is configured; `farccctl farm join LINE` does both",
        )
    })?;
    let address = upstream.address.to_string();
    let refused = reach::dial(upstream, Part::Client).map_err(|error| error.to_string()).err();
    if options.json {
        let document = json!({ "scheduler": address, "accepted": refused.is_none(), "why": refused });
        print(&format!("{document}\n"))?;
        return Ok(if refused.is_none() { exit::OK } else { exit::NEGATIVE });
    }
    match refused {
        None => print(&format!("{address} takes this user's token; there is nothing to log in to\n")),
        Some(why) => Err(Failure::new(exit::NEGATIVE, why)),
    }
}

const BITS_PER_BYTE: u32 = 8;
