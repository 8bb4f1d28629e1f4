//! The variables of huggingface_hub.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use plw_hub::{Hub, HubError};

type Variables = &'static [(&'static str, &'static str)];

fn hub(variables: &[(&str, &str)]) -> Result<Hub, HubError> {
    Hub::from_variables(|name| {
        let found = variables.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn the_environment_is_read_as_huggingface_hub_reads_it() {
    let hugging_face = "https://huggingface.co";
    let cases: [(Variables, &str, &str, bool); 6] = [
        (&[("HOME", "/h")], hugging_face, "", false),
        (&[("HF_HOME", "/f")], hugging_face, "/f/hub", false),
        (
            &[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")],
            hugging_face,
            "/c",
            false,
        ),
        (
            &[("XDG_CACHE_HOME", "/x"), ("HF_HUB_OFFLINE", "0")],
            hugging_face,
            "/x/huggingface/hub",
            false,
        ),
        (
            &[("HF_HOME", "/f"), ("HF_ENDPOINT", "http://mirror/")],
            "http://mirror/",
            "/f/hub",
            false,
        ),
        (
            &[
                ("HF_HOME", "/f"),
                ("HF_HUB_OFFLINE", "True"),
                ("HF_ENDPOINT", ""),
            ],
            hugging_face,
            "/f/hub",
            true,
        ),
    ];
    for (variables, endpoint, cache, offline) in cases {
        let hub = hub(variables).expect("good values");
        assert_eq!(
            (hub.endpoint.as_str(), hub.offline),
            (endpoint, offline),
            "{variables:?}"
        );
        if cache.is_empty() {
            assert!(hub.cache.ends_with("huggingface/hub"), "{variables:?}");
        } else {
            assert_eq!(hub.cache, Path::new(cache), "{variables:?}");
        }
    }
}

#[test]
fn a_token_is_read_and_never_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("token"), "from file\n").expect("written");
    let home = folder.path().to_str().expect("UTF-8");
    let of_file = hub(&[("HF_HOME", home)]).expect("good values");
    assert_eq!(of_file.token.as_deref(), Some("from file"));
    let secret = hub(&[("HF_HOME", home), ("HF_TOKEN", " sesame ")]).expect("good values");
    assert_eq!(secret.token.as_deref(), Some("sesame"));
    assert!(!format!("{secret:?}").contains("sesame"));
}

#[test]
fn timeouts_are_seconds() {
    for (value, seconds) in [("30", 30.0), ("0.5", 0.5), ("0", 10.0), ("", 10.0)] {
        let hub = hub(&[
            ("HF_HUB_ETAG_TIMEOUT", value),
            ("HF_HUB_DOWNLOAD_TIMEOUT", value),
        ]);
        let timeouts = hub.expect(value).timeouts;
        let expected = Duration::from_secs_f64(seconds);
        assert_eq!(
            (timeouts.metadata, timeouts.download),
            (expected, expected),
            "{value}"
        );
    }
    for value in ["ten", "-1", "nan", "inf", "1e300", "86401"] {
        let error = hub(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)])
            .expect_err(value)
            .to_string();
        assert!(
            error.contains("HF_HUB_DOWNLOAD_TIMEOUT") && error.contains(value),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf_8_are_paths_or_errors() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(vec![b'/', 0xff]);
    let only = |meant: &'static str| Hub::from_variables(move |name| (name == meant).then(broken));
    assert_eq!(
        only("HF_HUB_CACHE").expect("a path").cache.as_os_str(),
        broken()
    );
    for name in [
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "HF_HUB_ETAG_TIMEOUT",
    ] {
        let error = only(name).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("UTF-8"), "{error}");
    }
}

#[test]
fn addresses_and_tokens_that_cannot_be_are_named() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    for endpoint in [
        "huggingface.co",
        "ftp://hub",
        "http://",
        "http://user:password@hub",
        "file:///",
    ] {
        let hub = Hub::new(endpoint, cache.path());
        let error = crate::repository::download(&hub)
            .expect_err(endpoint)
            .to_string();
        assert!(error.contains("HF_ENDPOINT"), "{error}");
    }
    let hub = Hub {
        token: Some("two\nlines".to_owned()),
        ..Hub::new("http://127.0.0.1:9", cache.path())
    };
    let error = crate::repository::download(&hub)
        .expect_err("a token")
        .to_string();
    assert!(
        error.contains("HF_TOKEN") && !error.contains("lines"),
        "{error}"
    );
}
