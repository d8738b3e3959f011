//! What the guard answers by itself, without the gateway: the words that clients, the prover and the check from
//! outside agree on.

/// Why the guard did not let a request through, or could not bring back an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request breaks the rules of HTTP or is ambiguous.
    Malformed,
    /// The head, or the trailer of a body, is longer than the guard takes or has too many fields.
    HeadTooLarge,
    /// The head stopped coming.
    HeadTooSlow,
    /// Another version of HTTP than 1.1.
    VersionNotSupported,
    /// A path that the guard does not offer.
    UnknownRoute,
    /// An upgrade to another protocol.
    UpgradeNotOffered,
    /// A path that the guard offers, with another method.
    WrongMethod,
    /// No key.
    MissingKey,
    /// A key that is not known.
    WrongKey,
    /// A known key that has run out.
    KeyExpired,
    /// A known key that may not be used from this address.
    AddressNotAllowed,
    /// A known key that may not use this route.
    RouteNotAllowed,
    /// A known key that may not know of this model.
    ModelNotFound,
    /// A known key that was used too often.
    KeyRateReached,
    /// A known key with as many requests under way as it may have.
    KeyBusy,
    /// The guard is held: nothing passes until the lock is proven.
    Held,
    /// The body is larger than the guard takes.
    BodyTooLarge,
    /// The body stopped coming.
    BodyTooSlow,
    /// Too many requests from one address.
    AddressRateReached,
    /// As many requests under way from one address as it may have.
    AddressBusy,
    /// Too many wrong keys from one address.
    TooManyWrongKeys,
    /// More connections, or more bytes of heads and bodies under way, than the guard takes at once; or the system has no
    /// open file left to call the gateway with, which has not seen the request.
    TooBusy,
    /// The gateway could not be reached; it has not seen the request.
    GatewayAway,
    /// The gateway broke off before it answered; it may have acted.
    GatewayBrokeOff,
    /// The gateway does not take its own token.
    GatewayRefusedToken,
    /// The gateway does not take the token of its own hooks.
    GatewayRefusedHooksToken,
    /// The gateway answered with something that cannot be passed on.
    GatewayUnexpected,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Malformed,
        Self::HeadTooLarge,
        Self::HeadTooSlow,
        Self::VersionNotSupported,
        Self::UnknownRoute,
        Self::UpgradeNotOffered,
        Self::WrongMethod,
        Self::MissingKey,
        Self::WrongKey,
        Self::KeyExpired,
        Self::AddressNotAllowed,
        Self::RouteNotAllowed,
        Self::ModelNotFound,
        Self::KeyRateReached,
        Self::KeyBusy,
        Self::Held,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::AddressRateReached,
        Self::AddressBusy,
        Self::TooManyWrongKeys,
        Self::TooBusy,
        Self::GatewayAway,
        Self::GatewayBrokeOff,
        Self::GatewayRefusedToken,
        Self::GatewayRefusedHooksToken,
        Self::GatewayUnexpected,
    ];

    /// The status.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::HeadTooLarge => 431,
            Self::VersionNotSupported => 505,
            Self::UnknownRoute | Self::UpgradeNotOffered | Self::ModelNotFound => 404,
            Self::WrongMethod => 405,
            Self::MissingKey | Self::WrongKey | Self::KeyExpired => 401,
            Self::AddressNotAllowed | Self::RouteNotAllowed => 403,
            Self::KeyRateReached | Self::KeyBusy => 429,
            Self::BodyTooLarge => 413,
            Self::HeadTooSlow | Self::BodyTooSlow => 408,
            Self::AddressRateReached | Self::AddressBusy | Self::TooManyWrongKeys => 429,
            Self::Held | Self::TooBusy | Self::GatewayAway => 503,
            Self::GatewayBrokeOff
            | Self::GatewayRefusedToken
            | Self::GatewayRefusedHooksToken
            | Self::GatewayUnexpected => 502,
        }
    }

    /// The stable word in `error.code`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_request",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTooSlow => "head_too_slow",
            Self::VersionNotSupported => "version_not_supported",
            Self::UnknownRoute => "unknown_route",
            Self::UpgradeNotOffered => "upgrade_not_offered",
            Self::WrongMethod => "wrong_method",
            Self::MissingKey => "missing_api_key",
            Self::WrongKey => "invalid_api_key",
            Self::KeyExpired => "key_expired",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::RouteNotAllowed => "route_not_allowed",
            Self::ModelNotFound => "model_not_found",
            Self::KeyRateReached => "key_rate_reached",
            Self::KeyBusy => "key_busy",
            Self::Held => "held",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::AddressRateReached => "address_rate_reached",
            Self::AddressBusy => "address_busy",
            Self::TooManyWrongKeys => "too_many_wrong_keys",
            Self::TooBusy => "too_busy",
            Self::GatewayAway => "gateway_away",
            Self::GatewayBrokeOff => "gateway_broke_off",
            Self::GatewayRefusedToken => "gateway_refused_token",
            Self::GatewayRefusedHooksToken => "gateway_refused_hooks_token",
            Self::GatewayUnexpected => "gateway_unexpected",
        }
    }

    /// The kind of error in `error.type`, one of those that OpenAI's clients know.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Malformed
            | Self::HeadTooLarge
            | Self::HeadTooSlow
            | Self::VersionNotSupported
            | Self::UnknownRoute
            | Self::UpgradeNotOffered
            | Self::WrongMethod
            | Self::ModelNotFound
            | Self::BodyTooLarge
            | Self::BodyTooSlow => "invalid_request_error",
            Self::MissingKey | Self::WrongKey | Self::KeyExpired => "authentication_error",
            Self::AddressNotAllowed | Self::RouteNotAllowed => "permission_error",
            Self::KeyRateReached
            | Self::KeyBusy
            | Self::AddressRateReached
            | Self::AddressBusy
            | Self::TooManyWrongKeys => "rate_limit_error",
            Self::Held
            | Self::TooBusy
            | Self::GatewayAway
            | Self::GatewayBrokeOff
            | Self::GatewayRefusedToken
            | Self::GatewayRefusedHooksToken
            | Self::GatewayUnexpected => "server_error",
        }
    }

    /// What the client is told: what happened, and what to do next.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Malformed => {
                "The request is malformed. Send a plain HTTP/1.1 request with one Host and at most one Authorization header."
            }
            Self::HeadTooLarge => {
                "The request's head is too large. Send at most 100 header fields and 32 KB in all."
            }
            Self::HeadTooSlow => {
                "The request's head stopped coming. Try again on a connection that keeps up."
            }
            Self::VersionNotSupported => "Only HTTP/1.1 is spoken here. Use it.",
            Self::UnknownRoute => {
                "Nothing is offered here. POST /v1/chat/completions, POST /v1/responses and GET /v1/models always are; a few others are once the owner allows them in Ecto."
            }
            Self::UpgradeNotOffered => {
                "No upgrade to another protocol, such as WebSocket, is offered here. Send a plain HTTP/1.1 request without an Upgrade header."
            }
            Self::WrongMethod => {
                "This path takes another method. The Allow header of this answer names it."
            }
            Self::MissingKey => {
                "A key is missing. Send it as \"Authorization: Bearer ecto_...\"; its owner finds it in Ecto."
            }
            Self::WrongKey => {
                "The key is not known here. Check that it is complete, or ask its owner for the present one."
            }
            Self::KeyExpired => "This key has expired. Ask its owner for a new one.",
            Self::AddressNotAllowed => {
                "This key may not be used from this address. Ask its owner for one that may."
            }
            Self::ModelNotFound => {
                "There is no such model for this key. GET /v1/models lists the one there is."
            }
            Self::KeyRateReached => {
                "This key was used more often than it may be. The Retry-After header says how long to wait."
            }
            Self::KeyBusy => {
                "This key has as many requests under way as it may have. Wait until one of them has ended."
            }
            Self::RouteNotAllowed => {
                "This key may not use this path. Ask its owner for one that may."
            }
            Self::Held => {
                "Nobody is let through until OpenClaw's gateway answers and Ecto has checked its lock. Try again in a moment."
            }
            Self::BodyTooLarge => "The body is larger than 20 MB. Send a smaller one.",
            Self::BodyTooSlow => {
                "The body stopped coming. Try again on a connection that keeps up."
            }
            Self::AddressRateReached => {
                "Too many requests came from your address. The Retry-After header says how long to wait."
            }
            Self::AddressBusy => {
                "Your address has as many requests under way as it may have. Wait until one of them has ended."
            }
            Self::TooManyWrongKeys => {
                "Too many wrong keys came from your address. Check the key, and wait as long as the Retry-After header says."
            }
            Self::TooBusy => "Too much is under way here. Try again in a moment.",
            Self::GatewayAway => {
                "OpenClaw's gateway does not run or does not answer. Try again in a few seconds."
            }
            Self::GatewayBrokeOff => {
                "OpenClaw's gateway broke off before it answered. It may have begun, so look before trying again."
            }
            Self::GatewayRefusedToken => {
                "OpenClaw's gateway refused its own token. Your key is fine; the owner finds the cause with \"ecto status\"."
            }
            Self::GatewayRefusedHooksToken => {
                "OpenClaw's gateway refused the token of its own hooks. Your key is fine; the owner looks after hooks.token in OpenClaw's configuration, and restarts the gateway with \"ecto restart\"."
            }
            Self::GatewayUnexpected => {
                "OpenClaw's gateway answered with something that cannot be passed on. The owner finds out more with \"ecto status\"."
            }
        }
    }

    /// How many seconds the client is told to wait, where trying again makes sense.
    pub fn retry_after(self) -> Option<u64> {
        match self {
            Self::Held => Some(2),
            Self::TooBusy
            | Self::KeyRateReached
            | Self::KeyBusy
            | Self::AddressRateReached
            | Self::AddressBusy
            | Self::TooManyWrongKeys => Some(1),
            Self::GatewayAway => Some(5),
            Self::Malformed
            | Self::HeadTooLarge
            | Self::HeadTooSlow
            | Self::VersionNotSupported
            | Self::UnknownRoute
            | Self::UpgradeNotOffered
            | Self::WrongMethod
            | Self::MissingKey
            | Self::WrongKey
            | Self::KeyExpired
            | Self::AddressNotAllowed
            | Self::RouteNotAllowed
            | Self::ModelNotFound
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::GatewayBrokeOff
            | Self::GatewayRefusedToken
            | Self::GatewayRefusedHooksToken
            | Self::GatewayUnexpected => None,
        }
    }

    /// The one whose [`Refusal::code`] this is.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_its_own() {
        let codes: HashSet<_> = Refusal::ALL.into_iter().map(Refusal::code).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        }
    }
}
