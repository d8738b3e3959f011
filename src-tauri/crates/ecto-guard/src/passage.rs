//! The way of one request through the guard, room by room.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ecto_core::key::Route;
use ecto_core::offer::Offer;
use ecto_core::ports::Clock;
use ecto_core::refusal::Refusal;
use ecto_core::watchword::{self, Watchword};
use http::header::{ACCEPT_ENCODING, EXPECT, HOST, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::activity::{Line, Register};
use crate::address::Addresses;
use crate::admission::Gate;
use crate::answer::{AnswerBody, RefusalDetails, Stream, answer_preflight, refuse};
use crate::body::{BodyFault, MOST_HELD, RequestBody, hear_out};
use crate::caller::{caller_address, describe_caller};
use crate::connection::{Progress, Turn};
use crate::cors::Sharing;
use crate::gateway::{Answer, Gateway, Outgoing, Silence};
use crate::header::{headers_to_the_gateway, strip_answer};
use crate::keep_alive::KeepAlive;
use crate::key::{KeyRefusal, KnownKey, presented_key};
use crate::limits::Limits;
use crate::prover::ProverPass;
use crate::room::{Room, Taken};
use crate::route::{Destination, HOOKS, MODELS, allowed_method, find_destination};

/// What all connections share.
pub(crate) struct Shared {
    /// How much of everything.
    pub limits: Arc<Limits>,
    /// What everything under way may take up together.
    pub room: Room,
    /// Whom to let in, and to where.
    pub gate: Gate,
    /// What the prover shows.
    pub prover: ProverPass,
    /// What the check from outside shows.
    pub watchword: Option<Watchword>,
    /// What each address takes up.
    pub addresses: Addresses,
    /// How many more refusals may wait for the rest of a short body.
    pub hearings: Semaphore,
    /// What went through.
    pub register: Register,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Shared {
    fn is_check_from_outside(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(watchword::HEADER).map(HeaderValue::as_bytes);
        let word = self.watchword.as_ref().map(|known| known.word().as_bytes());
        shown
            .zip(word)
            .is_some_and(|(shown, word)| shown.ct_eq(word).into())
    }

    /// Reads the rest of a short body whose request is about to be refused, and says whether some is left. A client that
    /// asks whether to send it is told by the refusal.
    async fn leaves_unread<B>(&self, head: &Parts, body: B) -> bool
    where
        B: Body + Unpin,
    {
        if body.is_end_stream() {
            return false;
        }
        let Ok(_hearing) = self.hearings.try_acquire() else {
            return true;
        };
        head.headers.contains_key(EXPECT) || !hear_out(body, self.limits.farewell).await
    }

    /// Refuses a request once the rest of its body was heard out, without the places that it held.
    async fn refuse_heard(
        &self,
        head: &Parts,
        body: Incoming,
        refusal: Refusal,
        details: RefusalDetails,
        line: Line,
        mut turn: Turn,
    ) -> Response<AnswerBody> {
        turn.give_back();
        let body_unread = self.leaves_unread(head, body).await;
        let details = RefusalDetails {
            body_unread,
            ..details
        };
        refuse(refusal, &details, line, turn)
    }
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
    let offer = shared.gate.offer();
    let sharing = Sharing::of(&offer, request.headers());
    let mut response = answer(shared, request, turn, &offer, &sharing).await;
    sharing.put_into(response.headers_mut());
    response
}

async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
    mut turn: Turn,
    offer: &Offer,
    sharing: &Sharing,
) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    let address = caller_address(&head.headers);
    let caller = describe_caller(address);
    let mut line = shared.register.begin(caller, &head.method, head.uri.path());
    let is_prover = shared.prover.is_shown(&head.headers);
    let is_own = is_prover || shared.is_check_from_outside(&head.headers);
    if is_own {
        line.keep_out();
    }
    let asking = Asking {
        head: &head,
        address,
        is_prover,
        is_own,
        offer,
    };
    if let Some(answer) = preflight(asking, &body, sharing) {
        // Anybody can ask this, so it takes nothing of what the address may do with a key.
        return match shared.addresses.count_preflight(address) {
            Ok(()) => answer_preflight(answer, line, turn),
            Err(retry) => {
                let details = RefusalDetails {
                    retry: Some(retry),
                    ..RefusalDetails::default()
                };
                refuse(Refusal::AddressRateReached, &details, line, turn)
            }
        };
    }
    match let_in(shared, asking, &body, &mut line, &mut turn) {
        Ok((admitted, room)) => forward(shared, &head, body, admitted, room, line, turn).await,
        Err(KeyRefusal { refusal, retry }) => {
            let is_of_method = refusal == Refusal::WrongMethod;
            let details = RefusalDetails {
                allow: is_of_method
                    .then(|| allowed_method(head.uri.path(), offer))
                    .flatten(),
                retry,
                ..RefusalDetails::default()
            };
            shared
                .refuse_heard(&head, body, refusal, details, line, turn)
                .await
        }
    }
}

/// What a browser is answered that asks whether its page may call.
fn preflight(asking: Asking<'_>, body: &Incoming, sharing: &Sharing) -> Option<HeaderMap> {
    let head = asking.head;
    if !body.is_end_stream() || check_form(head).is_err() {
        return None;
    }
    let method = allowed_method(head.uri.path(), asking.offer);
    sharing.preflight(head, method.as_ref())
}

/// Everything that is decided before the gateway is asked, and what the body takes up where there is one.
fn let_in(
    shared: &Shared,
    asking: Asking<'_>,
    body: &Incoming,
    line: &mut Line,
    turn: &mut Turn,
) -> Result<(Admitted, Option<Taken>), KeyRefusal> {
    let admitted = admit(shared, asking, line, turn)
        .map_err(|refused| count_wrong_key(shared, asking, refused))?;
    if !asking.is_own {
        let visit = shared.addresses.enter(asking.address);
        turn.keep_visit(visit.map_err(|(refusal, retry)| KeyRefusal { refusal, retry })?);
    }
    if body.size_hint().lower() > shared.limits.body_bytes {
        return Err(Refusal::BodyTooLarge.into());
    }
    let room = take_room(shared, admitted.destination.route, body)?;
    // Last, so that what is refused uses up nothing of what the key may do.
    if !asking.is_own {
        admitted.key.count(&*shared.clock, line.began_at())?;
    }
    Ok((admitted, room))
}

/// Counts a wrong key of the address, and says where there were too many.
fn count_wrong_key(shared: &Shared, asking: Asking<'_>, refused: KeyRefusal) -> KeyRefusal {
    if refused.refusal != Refusal::WrongKey || asking.is_own {
        return refused;
    }
    match shared.addresses.count_wrong_key(asking.address) {
        Ok(()) => refused,
        Err(retry) => KeyRefusal {
            refusal: Refusal::TooManyWrongKeys,
            retry: Some(retry),
        },
    }
}

/// Takes room for as much as is held of a body at most; for none where there is none.
fn take_room(shared: &Shared, route: Route, body: &Incoming) -> Result<Option<Taken>, Refusal> {
    let takes_body = match route {
        Route::Models => false,
        Route::Chat | Route::Responses | Route::Embeddings | Route::Hooks => !body.is_end_stream(),
    };
    if !takes_body {
        return Ok(None);
    }
    let announced = body.size_hint().upper();
    let held = announced.and_then(|bytes| usize::try_from(bytes).ok());
    let held = held.map_or(MOST_HELD, |bytes| bytes.min(MOST_HELD));
    let room = shared.room.take(held).ok_or(Refusal::TooBusy)?;
    Ok(Some(room))
}

/// Sends the request to the gateway, and its answer on as it comes.
async fn forward(
    shared: &Shared,
    head: &Parts,
    body: Incoming,
    admitted: Admitted,
    room: Option<Taken>,
    mut line: Line,
    turn: Turn,
) -> Response<AnswerBody> {
    let mut details = RefusalDetails {
        body_unread: !body.is_end_stream(),
        ..RefusalDetails::default()
    };
    let fault = BodyFault::default();
    let body = match room {
        None => RequestBody::none(),
        Some(room) => RequestBody::new(body, &shared.limits, room, fault.clone()),
    };
    line.set_under_way();
    let (gateway, as_list) = (Arc::clone(&admitted.gateway), admitted.as_list);
    let route = admitted.destination.route;
    let outcome = match request_to_the_gateway(head, admitted, body) {
        Some(request) => gateway.send(request).await,
        None => return refuse(Refusal::Malformed, &details, line, turn),
    };
    let refusal = match outcome {
        Ok(response) => match judge_status(response.status(), route) {
            None => {
                let silence = shared.limits.stream_silence;
                return pass_on(response, silence, gateway, as_list, line, turn);
            }
            Some(refusal) => refusal,
        },
        Err(Silence::Away(body)) => {
            details.body_unread = shared.leaves_unread(head, body).await;
            fault.get().unwrap_or(Refusal::GatewayAway)
        }
        Err(Silence::Exhausted(body)) => {
            details.body_unread = shared.leaves_unread(head, body).await;
            fault.get().unwrap_or(Refusal::TooBusy)
        }
        Err(Silence::BrokeOff) => fault.get().unwrap_or(Refusal::GatewayBrokeOff),
    };
    refuse(refusal, &details, line, turn)
}

/// The gateway's answer as the client gets it, with a comment after each `silence` of an event stream.
fn pass_on(
    response: Response<Answer>,
    silence: Duration,
    gateway: Arc<Gateway>,
    as_list: bool,
    mut line: Line,
    turn: Turn,
) -> Response<AnswerBody> {
    let (mut head, incoming) = response.into_parts();
    head.version = Version::HTTP_11;
    head.extensions.clear();
    strip_answer(&mut head.headers);
    line.set_passed(head.status.as_u16());
    let keep_alive = KeepAlive::new(&head.headers, silence);
    let mut stream = Stream::new(incoming, gateway, keep_alive, line, turn);
    if as_list && head.status == StatusCode::OK {
        stream = stream.into_list();
    }
    Response::from_parts(head, AnswerBody::Stream(Box::new(stream)))
}

/// A request as far as it is known before its body.
#[derive(Clone, Copy)]
struct Asking<'a> {
    head: &'a Parts,
    address: Option<IpAddr>,
    /// Whether the lock is being proven, so that a held guard lets it pass.
    is_prover: bool,
    /// Whether Ecto itself asks, which nothing counts.
    is_own: bool,
    offer: &'a Offer,
}

/// A request that may go to the gateway.
struct Admitted {
    destination: Destination,
    gateway: Arc<Gateway>,
    key: Arc<KnownKey>,
    /// Whether the answer is one model where a list was asked for.
    as_list: bool,
}

/// Everything that is decided by the head alone. What Ecto itself asks is not counted, so that no limit of a key decides
/// whether the lock is proven or the address reachable.
fn admit(
    shared: &Shared,
    asking: Asking<'_>,
    line: &mut Line,
    turn: &mut Turn,
) -> Result<Admitted, KeyRefusal> {
    let head = asking.head;
    check_form(head)?;
    let destination = find_destination(&head.method, head.uri.path(), asking.offer)?;
    let admission = shared.gate.admission();
    if destination.route == Route::Hooks
        && admission
            .as_ref()
            .is_some_and(|admission| admission.gateway.hooks.is_none())
    {
        return Err(Refusal::UnknownRoute.into());
    }
    let presented = presented_key(&head.headers)?;
    let admission = admission.ok_or(Refusal::Held)?;
    let now = line.began_at();
    let holder = admission
        .keys
        .find(presented, now)
        .ok_or(Refusal::WrongKey)?;
    let key = holder.key;
    line.set_key(key.label.clone());
    key.judge(destination.route, asking.address, now)?;
    let cut = holder.cuts.of_route(destination.route);
    turn.end_with(cut.clone());
    // What was taken away before it could be cut: the route, or the key.
    if destination.route.is_optional() && !shared.gate.offer().has(destination.route) {
        return Err(Refusal::UnknownRoute.into());
    }
    if cut.is_cancelled() {
        if shared.gate.reopen(shared.clock.now()) {
            return admit(shared, asking, line, turn);
        }
        return Err(Refusal::WrongKey.into());
    }
    let (destination, as_list) = match key.model() {
        Some(model) => pin_models(destination, &model)?,
        None => (destination, false),
    };
    if shared.gate.is_held() && !asking.is_prover {
        return Err(Refusal::Held.into());
    }
    if !asking.is_own {
        turn.keep(key.enter(&*shared.clock)?);
    }
    Ok(Admitted {
        destination,
        gateway: admission.gateway,
        key,
        as_list,
    })
}

/// Shows the holder of a key with an agent that agent's model alone: in place of the list the gateway is asked for the
/// one model, and says whether the answer is to be made a list.
fn pin_models(destination: Destination, model: &str) -> Result<(Destination, bool), Refusal> {
    if destination.route != Route::Models {
        return Ok((destination, false));
    }
    let path = format!("{MODELS}/{}", model.replace('/', "%2F"));
    let as_list = destination.path == MODELS;
    if !as_list && destination.path != path {
        return Err(Refusal::ModelNotFound);
    }
    let path = Cow::Owned(path);
    Ok((
        Destination {
            path,
            ..destination
        },
        as_list,
    ))
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
        return Err(Refusal::UpgradeNotOffered);
    }
    Ok(())
}

/// The request as the gateway gets it: path and headers chosen by the guard, no query.
fn request_to_the_gateway(head: &Parts, admitted: Admitted, body: RequestBody) -> Option<Outgoing> {
    let Destination { route, path } = admitted.destination;
    let (path, addressed) = match route {
        Route::Hooks => {
            let hooks = admitted.gateway.hooks.as_ref()?;
            let path = hooks.path(path.strip_prefix(HOOKS)?);
            (Cow::Owned(path), &hooks.headers)
        }
        Route::Chat | Route::Responses | Route::Models | Route::Embeddings => {
            (path, &admitted.gateway.headers)
        }
    };
    let uri = match path {
        Cow::Borrowed(path) => Uri::from_static(path),
        Cow::Owned(path) => Uri::try_from(path).ok()?,
    };
    let agent = admitted.key.agent.as_ref();
    let mut fields = headers_to_the_gateway(&head.headers, addressed, agent);
    if admitted.as_list {
        // What is put around the answer is not compressed.
        fields.retain(|(name, _)| name != ACCEPT_ENCODING);
    }
    Some(Outgoing {
        method: head.method.clone(),
        uri,
        fields,
        body,
    })
}

/// What the guard says in place of an answer that the client would misunderstand: a 401 from the gateway is about the
/// gateway's token or the hooks', and the client would take it for its key.
fn judge_status(status: StatusCode, route: Route) -> Option<Refusal> {
    match status {
        StatusCode::UNAUTHORIZED if route == Route::Hooks => {
            Some(Refusal::GatewayRefusedHooksToken)
        }
        StatusCode::UNAUTHORIZED => Some(Refusal::GatewayRefusedToken),
        informational if informational.is_informational() => Some(Refusal::GatewayUnexpected),
        _ => None,
    }
}
