//! The lab's certificate authority, which visitors trust in place of the public ones.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Signs certificates for hosts of the lab.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct HostCertificate {
    /// Certificate of the host alone, then its authority's.
    pub chain_pem: String,
    /// Private key, PKCS#8.
    pub key_pem: String,
    /// The same chain for rustls.
    pub chain: Vec<CertificateDer<'static>>,
    /// The same key for rustls.
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Makes a new authority.
    ///
    /// # Errors
    ///
    /// Where no key could be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Ecto lab authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Returns the authority's own certificate, the root to trust.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns the authority's own certificate for rustls.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Signs a certificate for a DNS name or an IP address.
    ///
    /// # Errors
    ///
    /// Where the host is no such name.
    pub fn certify(&self, host: &str) -> Result<HostCertificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(HostCertificate {
            chain_pem: certificate.pem() + &self.issuer.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone(), self.root()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}
