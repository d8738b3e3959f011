//! The way of one request through the guard, room by room.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ecto_core::key::Route;
use ecto_core::refusal::Refusal;
use http::header::{HOST, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;

use crate::activity::{Line, Register};
use crate::admission::{Admission, Gate};
use crate::answer::{AnswerBody, RefusalDetails, Stream, refuse};
use crate::body::{BodyFault, RequestBody};
use crate::caller::{caller_address, describe_caller};
use crate::connection::{Progress, Turn};
use crate::gateway::Silence;
use crate::header::{headers_to_the_gateway, strip_answer};
use crate::key::presented_key;
use crate::limits::Limits;
use crate::prover::ProverPass;
use crate::route::{Destination, allowed_method, find_destination};

/// What all connections share.
pub(crate) struct Shared {
    /// How much of everything.
    pub limits: Limits,
    /// Whom to let in, and to where.
    pub gate: Gate,
    /// What the prover shows.
    pub prover: ProverPass,
    /// What went through.
    pub register: Register,
}

/// Takes the requests of one connection.
pub(crate) struct Passage {
    shared: Arc<Shared>,
    progress: Progress,
}

impl Passage {
    /// For one connection.
    pub fn new(shared: Arc<Shared>, progress: Progress) -> Self {
        Self { shared, progress }
    }
}

impl Service<Request<Incoming>> for Passage {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let turn = self.progress.begin();
        let shared = self.shared.clone();
        Box::pin(async move { Ok(pass(&shared, request, turn).await) })
    }
}

async fn pass(shared: &Shared, request: Request<Incoming>, turn: Turn) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    let caller = describe_caller(caller_address(&head.headers));
    let mut line = shared.register.begin(caller, &head.method, head.uri.path());
    let is_prover = shared.prover.is_shown(&head.headers);
    if is_prover {
        line.keep_out();
    }
    let mut details = RefusalDetails {
        allow: None,
        body_unread: !body.is_end_stream(),
    };
    let (destination, admission) = match admit(shared, &head, is_prover, &mut line, &turn) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            if refusal == Refusal::WrongMethod {
                details.allow = allowed_method(head.uri.path());
            }
            return refuse(refusal, &details, line, turn);
        }
    };
    if body.size_hint().lower() > shared.limits.body_bytes {
        return refuse(Refusal::BodyTooLarge, &details, line, turn);
    }
    let fault = BodyFault::default();
    let body = match destination.route {
        Route::Chat | Route::Responses => RequestBody::new(
            body,
            shared.limits.body_bytes,
            shared.limits.body_silence,
            fault.clone(),
        ),
        Route::Models => RequestBody::none(),
    };
    line.set_under_way();
    let gateway = admission.gateway;
    let outcome = match request_to_the_gateway(&head, destination, body, &gateway.headers) {
        Some(request) => gateway.send(request).await,
        None => return refuse(Refusal::Malformed, &details, line, turn),
    };
    let refusal = match outcome {
        Ok((response, link)) => match judge_status(response.status()) {
            None => {
                let (mut head, incoming) = response.into_parts();
                head.version = Version::HTTP_11;
                head.extensions.clear();
                strip_answer(&mut head.headers);
                line.set_passed(head.status.as_u16());
                let stream = Stream::new(incoming, link, gateway, line, turn);
                return Response::from_parts(head, AnswerBody::Stream(Box::new(stream)));
            }
            Some(refusal) => refusal,
        },
        Err(Silence::Away) => fault.get().unwrap_or(Refusal::GatewayAway),
        Err(Silence::BrokeOff) => fault.get().unwrap_or(Refusal::GatewayBrokeOff),
    };
    refuse(refusal, &details, line, turn)
}

/// Everything that is decided by the head alone.
fn admit(
    shared: &Shared,
    head: &Parts,
    is_prover: bool,
    line: &mut Line,
    turn: &Turn,
) -> Result<(Destination, Admission), Refusal> {
    check_form(head)?;
    let destination = find_destination(&head.method, head.uri.path())?;
    let presented = presented_key(&head.headers)?;
    let admission = shared.gate.admission().ok_or(Refusal::Held)?;
    let key = admission.keys.find(presented).ok_or(Refusal::WrongKey)?;
    line.set_key(key.name.clone());
    turn.end_with(key.cut.clone());
    if !key.allows(destination.route) {
        return Err(Refusal::RouteNotAllowed);
    }
    if shared.gate.is_held() && !is_prover {
        return Err(Refusal::Held);
    }
    Ok((destination, admission))
}

/// Refuses what is not one plain request: other versions, targets that are not a path, more or fewer than one `Host`,
/// and requests that would have the connection speak something else.
fn check_form(head: &Parts) -> Result<(), Refusal> {
    if head.version != Version::HTTP_11 {
        return Err(Refusal::VersionNotSupported);
    }
    let is_path = head.uri.scheme().is_none() && head.uri.authority().is_none();
    if head.method == Method::CONNECT || !is_path {
        return Err(Refusal::Malformed);
    }
    if head.headers.get_all(HOST).iter().count() != 1 {
        return Err(Refusal::Malformed);
    }
    if head.headers.contains_key(UPGRADE) {
        return Err(Refusal::UnknownRoute);
    }
    Ok(())
}

/// The request as the gateway gets it: path and headers chosen by the guard, no query.
fn request_to_the_gateway(
    head: &Parts,
    destination: Destination,
    body: RequestBody,
    headers: &crate::header::GatewayHeaders,
) -> Option<Request<RequestBody>> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::try_from(destination.path.into_owned()).ok()?;
    *request.headers_mut() = headers_to_the_gateway(&head.headers, headers);
    Some(request)
}

/// What the guard says in place of an answer that the client would misunderstand: a 401 from the gateway is about the
/// gateway's token, and the client would take it for its key.
fn judge_status(status: StatusCode) -> Option<Refusal> {
    match status {
        StatusCode::UNAUTHORIZED => Some(Refusal::GatewayRefusedToken),
        informational if informational.is_informational() => Some(Refusal::GatewayUnexpected),
        _ => None,
    }
}
