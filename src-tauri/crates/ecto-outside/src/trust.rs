//! Whose certificates are believed.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// What the system believes, judged as the system does.
    System,
    /// These roots and no others: the lab and the sandbox.
    Only(Vec<CertificateDer<'static>>),
}

/// There is no certificate in a text that should hold one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate in PEM form")]
pub struct NoCertificate;

impl Trust {
    /// Believes the roots in a PEM text, and no others.
    pub fn only_pem(text: &str) -> Result<Self, NoCertificate> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| NoCertificate)?;
        if roots.is_empty() {
            return Err(NoCertificate);
        }
        Ok(Self::Only(roots))
    }

    /// The client's side of TLS: HTTP/1.1, verified against these roots.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let mut client = match self {
            Self::System => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?))
                .with_no_client_auth(),
            Self::Only(roots) => {
                let mut store = rustls::RootCertStore::empty();
                for root in roots {
                    store.add(root.clone())?;
                }
                builder.with_root_certificates(store).with_no_client_auth()
            }
        };
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(client))
    }
}
