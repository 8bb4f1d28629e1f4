//! An HTTP address: where a redirect leads, and which addresses a token may be sent to.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// An address with the scheme http or https, a host, and neither user name nor password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url(Uri);

impl Url {
    /// The address that a text spells. Bytes that a URL may not have are percent-encoded, as other
    /// clients do. The error completes the sentence "the address ...".
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let without_fragment = text.split(|&byte| byte == b'#').next().unwrap_or_default();
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        let encoded = without_fragment.iter().map(|&byte| match byte {
            byte if is_allowed(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        let uri: Uri = encoded
            .collect::<String>()
            .parse()
            .map_err(|_| "is malformed")?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err("is neither http nor https"),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err("names no host");
        }
        if authority.contains('@') {
            return Err("holds a user name");
        }
        Ok(Self(uri))
    }

    /// The address of a path below this one.
    pub(crate) fn below(&self, path: &str) -> Result<Self, &'static str> {
        let address = self.0.to_string();
        Self::parse(format!("{}/{path}", address.trim_end_matches('/')).as_bytes())
    }

    /// The address that a `Location` on this one's answer stands for (RFC 3986, section 5.2).
    pub(crate) fn join(&self, location: &[u8]) -> Result<Self, &'static str> {
        let scheme = self.0.scheme_str().unwrap_or_default().as_bytes();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        let (path, query) = match location
            .iter()
            .position(|&byte| byte == b'?' || byte == b'#')
        {
            Some(end) => location.split_at(end),
            None => (location, &b""[..]),
        };
        if has_scheme(path) {
            return Self::parse(location);
        }
        if path.starts_with(b"//") {
            return Self::parse(&[scheme, &b":"[..], location].concat());
        }
        let own = self.0.path().as_bytes();
        let path = match path {
            [] if query.starts_with(b"?") => own.to_vec(),
            [] => return Ok(self.clone()),
            [b'/', ..] => without_dots(path),
            path => {
                let folder = own.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                without_dots(&[&own[..folder], &b"/"[..], path].concat())
            }
        };
        Self::parse(&[scheme, &b"://"[..], authority.as_bytes(), &path[..], query].concat())
    }

    /// Whether both are served by the same server: same scheme, host and port.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    fn origin(&self) -> (bool, String, u16) {
        let default = if self.is_https() { 443 } else { 80 };
        let host = self.0.host().unwrap_or_default().to_ascii_lowercase();
        (self.is_https(), host, self.0.port_u16().unwrap_or(default))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Whether the server is this machine, which no proxy reaches.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse();
        host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for Url {
    /// Without the query, in which a signed address holds its secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(
            formatter,
            "{scheme}://{authority}{}",
            self.0.path().trim_end_matches('/')
        )
    }
}

/// Whether a reference begins with a scheme, as `https:` does.
fn has_scheme(reference: &[u8]) -> bool {
    let end = reference.iter().position(|&byte| b":/".contains(&byte));
    end.is_some_and(|end| end > 0 && reference[end] == b':')
}

/// An absolute path without the parts `.` and `..`; above the top there is nothing.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_in_folder = false;
    for part in path.split(|&byte| byte == b'/').skip(1) {
        ends_in_folder = matches!(part, b"." | b"..");
        match part {
            b"." => {}
            b".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    if ends_in_folder {
        kept.push(b"");
    }
    [b"/".to_vec(), kept.join(&b'/')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn references_are_resolved_as_rfc_3986_says() {
        // The examples of section 5.4 that make sense in a `Location`.
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g?u=http://x:1/", "http://a/b/c/g?u=http://x:1/"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../../g", "http://a/g"),
            ("./../g", "http://a/b/g"),
            ("g/../h", "http://a/b/c/h"),
            ("https://g/x?y", "https://g/x?y"),
            ("a file é", "http://a/b/c/a%20file%20%C3%A9"),
        ] {
            let joined = url("http://a/b/c/d;p?q").join(reference.as_bytes());
            assert_eq!(joined, Ok(url(expected)), "{reference}");
        }
        for reference in [
            "ftp://g/",
            "file:///etc/passwd",
            "javascript:1",
            "http://",
            "http://u:p@g",
        ] {
            assert!(
                url("http://a/b").join(reference.as_bytes()).is_err(),
                "{reference}"
            );
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (other, same) in [
            ("http://hub", true),
            ("http://HUB:80/x?y", true),
            ("https://hub", false),
            ("http://hub:8080", false),
            ("http://hub.evil", false),
            ("http://evil/hub", false),
        ] {
            assert_eq!(url("http://hub/").same_origin(&url(other)), same, "{other}");
        }
        for (address, loopback) in [
            ("http://localhost:1", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:8/", true),
            ("http://127.0.0.1.evil", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(url(address).is_loopback(), loopback, "{address}");
        }
        assert_eq!(url("https://hub/a?secret").to_string(), "https://hub/a");
        assert_eq!(
            url("http://m/x/").below("a/b").map(|u| u.to_string()),
            Ok("http://m/x/a/b".into())
        );
    }
}
