//! Requests to the hub and to the servers that it redirects to. Knows addresses, tokens and
//! timeouts; knows no file and no cache.

use ureq::http::{HeaderMap, HeaderValue, header};
use ureq::{Agent, Body};

use crate::error::{HubError, RequestError};
use crate::hub::{Hub, Timeouts};
use crate::url::Url;

/// The most redirects that are followed for one request.
const REDIRECTS: usize = 10;

/// How many times as long as for its first bytes is waited for the last ones of a document.
const DOCUMENT: u32 = 30;

/// What is asked of an address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// The headers alone.
    Head,
    /// A document that fits in memory.
    Document,
    /// The bytes of a file, without the first ones.
    Bytes { from: u64 },
}

/// An answer that is not an error, or a redirect that was not followed.
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Where it redirects to.
    pub(crate) location: Option<Url>,
}

/// Sends requests. The token goes to the endpoint alone.
pub(crate) struct Client {
    pub(crate) endpoint: Url,
    agent: Agent,
    token: Option<HeaderValue>,
    pub(crate) timeouts: Timeouts,
}

impl Client {
    pub(crate) fn new(hub: &Hub) -> Result<Self, HubError> {
        let endpoint = Url::parse(hub.endpoint.as_bytes()).map_err(|_| HubError::Setting {
            variable: "HF_ENDPOINT",
            problem: format!(
                "is {:?}, which is not an address such as https://huggingface.co, without a user",
                hub.endpoint
            ),
        })?;
        let token = hub.token.as_ref().map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value.map_err(|_| HubError::Setting {
                variable: "HF_TOKEN",
                problem: "has a character that no token has".to_owned(),
            })
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, where it is known who may see the token.
            .max_redirects(0)
            .user_agent(concat!("plw/", env!("CARGO_PKG_VERSION")))
            // A compressed answer has neither the length nor the digest of the file.
            .accept_encoding("identity")
            .build();
        Ok(Self {
            endpoint,
            agent: config.new_agent(),
            token: token.transpose()?,
            timeouts: hub.timeouts,
        })
    }

    /// The address of a path on the hub.
    pub(crate) fn url(&self, path: &str) -> Result<Url, RequestError> {
        let url = self.endpoint.below(path);
        url.map_err(|problem| unexpected(&self.endpoint, format!("has a path that {problem}")))
    }

    /// The answer to a request, after redirects. A redirect for which `stop` holds is the answer.
    pub(crate) fn request(
        &self,
        request: Request,
        url: &Url,
        stop: impl Fn(&Answer, &Url) -> bool,
    ) -> Result<Answer, RequestError> {
        let mut next = url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.send(request, &next)?;
            match &answer.location {
                Some(location) if !stop(&answer, location) => next = location.clone(),
                _ => return Ok(answer),
            }
        }
        Err(unexpected(
            url,
            format!("redirects more than {REDIRECTS} times"),
        ))
    }

    /// One request and its answer.
    fn send(&self, request: Request, url: &Url) -> Result<Answer, RequestError> {
        let (builder, timeout) = match request {
            Request::Head => (self.agent.head(url.uri()), self.timeouts.metadata),
            Request::Document => (self.agent.get(url.uri()), self.timeouts.metadata),
            Request::Bytes { .. } => (self.agent.get(url.uri()), self.timeouts.download),
        };
        let mut config = builder
            .config()
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout));
        if let Request::Document = request {
            config = config.timeout_recv_body(Some(timeout * DOCUMENT));
        }
        if url.is_loopback() {
            config = config.proxy(None);
        }
        let mut builder = config.build();
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|_| url.same_origin(&self.endpoint))
        {
            builder = builder.header(header::AUTHORIZATION, token);
        }
        if let Request::Bytes { from: from @ 1.. } = request {
            builder = builder.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = builder
            .call()
            .map_err(|error| self.failed(request, url, error))?;
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let location = match status {
            200 | 206 => None,
            301 | 302 | 303 | 307 | 308 => Some(location(url, &parts.headers)?),
            416 if matches!(request, Request::Bytes { from: 1.. }) => None,
            401 | 403 | 404 if url.same_origin(&self.endpoint) => {
                let endpoint = self.endpoint.to_string();
                return Err(RequestError::Refused { endpoint, status });
            }
            status => {
                let url = url.to_string();
                return Err(RequestError::Status { url, status });
            }
        };
        let headers = parts.headers;
        let url = url.clone();
        Ok(Answer {
            url,
            status,
            headers,
            body,
            location,
        })
    }

    /// Why a request failed, or reading its answer.
    pub(crate) fn failed(&self, request: Request, url: &Url, error: ureq::Error) -> RequestError {
        let (timeout, variable) = match request {
            Request::Bytes { .. } => (self.timeouts.download, "HF_HUB_DOWNLOAD_TIMEOUT"),
            _ => (self.timeouts.metadata, "HF_HUB_ETAG_TIMEOUT"),
        };
        let url = url.to_string();
        match error {
            ureq::Error::Timeout(phase) => {
                let times = if phase == ureq::Timeout::RecvBody {
                    DOCUMENT
                } else {
                    1
                };
                let seconds = (timeout * times).as_secs_f64();
                RequestError::Timeout {
                    url,
                    seconds,
                    variable,
                }
            }
            ureq::Error::Io(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_) => {
                let source = Box::new(error);
                RequestError::Connection { url, source }
            }
            error => {
                let problem = format!("does not speak HTTP as a hub does ({error})");
                RequestError::Unexpected { url, problem }
            }
        }
    }
}

/// Where an answer redirects to.
fn location(url: &Url, headers: &HeaderMap) -> Result<Url, RequestError> {
    let Some(location) = headers.get(header::LOCATION) else {
        return Err(unexpected(url, "redirects without a Location header"));
    };
    let refused = |problem: &str| {
        let shown = String::from_utf8_lossy(location.as_bytes());
        let problem = format!("redirects to {shown:?}, which {problem}");
        RequestError::Untrusted {
            url: url.to_string(),
            problem,
        }
    };
    let target = url.join(location.as_bytes()).map_err(refused)?;
    if url.is_https() && !target.is_https() {
        return Err(refused("is not encrypted"));
    }
    Ok(target)
}

/// An answer that no hub sends; `problem` continues the sentence that begins with the address.
pub(crate) fn unexpected(url: &Url, problem: impl Into<String>) -> RequestError {
    RequestError::Unexpected {
        url: url.to_string(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_does_not_leave_encryption() {
        let url = |text: &str| Url::parse(text.as_bytes()).expect(text);
        for (from, location_header, followed) in [
            ("https://hub/a", "/b", true),
            ("https://hub/a", "https://store/b", true),
            ("https://hub/a", "http://hub/b", false),
            ("http://hub/a", "http://store/b", true),
            ("http://hub/a", "https://hub/b", true),
        ] {
            let value = HeaderValue::from_static(location_header);
            let headers = HeaderMap::from_iter([(header::LOCATION, value)]);
            let target = location(&url(from), &headers);
            assert_eq!(target.is_ok(), followed, "{from} {location_header}");
        }
    }
}
